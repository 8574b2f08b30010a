#include "runtime/errors.hpp"

#include <algorithm>
#include <utility>

namespace dbos::runtime {

namespace {

constexpr std::size_t kLongestMessage = 64 << 10;

/// Printable ASCII of a text, `?` for every other byte: readable in every format.
std::string plain(std::string_view text) {
    std::string result(text.substr(0, kLongestMessage));
    std::replace_if(
        result.begin(), result.end(),
        [](char c) { return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || c < 0; }, '?');
    return result;
}

}  // namespace

std::string encode_error(const Serializer& format, const std::exception_ptr& error,
                         std::span<const ErrorType> known) {
    Failure failure{.type_name = "Error"};
    try {
        failure = describe(error, known);
        return format.encode_error(failure);
    } catch (const std::exception& problem) {
        failure = Failure{.type_name = plain(failure.type_name),
                          .message = plain(failure.message) + " (not all of this error could be stored: " +
                                     plain(problem.what()) + ")"};
    }
    try {
        return format.encode_error(failure);
    } catch (const std::exception&) {
        return format.encode_error(
            Failure{.type_name = "Error", .message = "an error that could not be stored"});
    }
}

}  // namespace dbos::runtime
