// The exception classes whose records come back as themselves: those of the standard library and of this one.
#pragma once

#include <exception>
#include <string>

#include "dbos/value.hpp"

namespace dbos {

/// Fills the failure if `qualified` (`std::runtime_error`) names a known class of the standard library.
bool describe_standard(const std::exception& error, const std::string& qualified, Failure& failure);
/// Throws the standard class of the failure's name; returns if there is none.
void raise_standard(const Failure& failure);

/// Fills the failure if the error is exactly one of this library's classes: Python's name where it has one
/// (dbos/_error.py), the class name otherwise; the fields as data under the names that Go gives them.
bool describe_own(const std::exception& error, Failure& failure);
/// Throws the library's class of the failure's name; returns if there is none or its data does not fit.
void raise_own(const Failure& failure, const std::string& workflow_id);

}  // namespace dbos
