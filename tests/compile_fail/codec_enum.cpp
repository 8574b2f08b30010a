// expect: dbos: this enum is not serializable; add DBOS_ENUM(Enum, enumerators...) beside it
#include "dbos/failure.hpp"

enum class Colour { red };

dbos::Value stored() { return dbos::to_value(Colour::red); }
