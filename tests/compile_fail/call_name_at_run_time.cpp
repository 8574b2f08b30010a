// expect: Name
#include "dbos/workflow.hpp"

void step(const dbos::Name& name);
void call(const std::string& text) { step(text); }
