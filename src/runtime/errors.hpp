// From what a body or step threw to the text of its record.
#pragma once

#include <exception>
#include <span>
#include <string>

#include "dbos/failure.hpp"
#include "dbos/serializer.hpp"

namespace dbos::runtime {

/// The record of an error in `format`. Never throws but for memory: what the format cannot hold (data, bytes that are no
/// UTF-8) is left out, and the message says so. An error must not end its process.
std::string encode_error(const Serializer& format, const std::exception_ptr& error,
                         std::span<const ErrorType> known);

}  // namespace dbos::runtime
