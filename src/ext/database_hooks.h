// Makes the workers of a database leave before a command that needs it free of connections: DROP
// DATABASE, CREATE DATABASE ... TEMPLATE, ALTER DATABASE ... RENAME / SET TABLESPACE. Any backend
// that has loaded the library: all of them under shared_preload_libraries.
#ifndef ALERTING_EXT_DATABASE_HOOKS_H_
#define ALERTING_EXT_DATABASE_HOOKS_H_

namespace alerting::ext {

void InstallDatabaseHooks();

}  // namespace alerting::ext

#endif  // ALERTING_EXT_DATABASE_HOOKS_H_
