-- Nothing for PUBLIC; docs/security.md lists what to grant to whom.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA alerting FROM PUBLIC;

SELECT alerting.bind_host();
