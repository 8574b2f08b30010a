// expect: name_must_be_1_to_255_printable_characters
#include "dbos/workflow.hpp"

inline constexpr auto Bad = dbos::workflow<int()>("a\nb");
