SELECT alerting.bind_host();
