// expect: the system database is lent as
#include "dbos/app.hpp"

void program(dbos::App& app) { app.system_datasource<std::string>(); }
