// expect: names_starting_with_DBOS_dot_are_reserved
#include "dbos/workflow.hpp"

void step(const dbos::Name& name);
void call() { step("DBOS.sleep"); }
