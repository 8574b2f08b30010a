// The rendering of values as JSON that test vectors and people see (docs/wire, value model): what JSON has no
// form for is an object with the member `$type`.
//
// Correspondence with Value: integers, doubles (NaN too), strings (WTF-8), bytes, arrays, objects and
// datetimes with an offset are Value's own kinds. Everything else, and all of these with a flavour, is
// Value::annotated(<$type>, <the other members>): a tuple is annotated("tuple", {items}), a Java Long
// annotated("int", {value, flavor}), an undefined annotated("undefined", {}). An opaque object of class
// "module.Name" is Opaque{module, Name, {args, kwargs, state, items, entries}}, without a dot
// annotated("opaque").
#pragma once

#include <string>

#include "dbos/value.hpp"

namespace dbos {

/// JSON text. Never throws but for memory: invalid UTF-8 is rendered as `$type` `str`.
std::string render(const Value& value);

/// The value of a parsed rendering. Throws DecodeError for an unknown form of a member.
Value from_rendering(const Value& json);

}  // namespace dbos
