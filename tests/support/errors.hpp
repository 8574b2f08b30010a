// What a call throws, as a text.
#pragma once

#include <exception>
#include <string>

namespace dbos::test {

/// The text of the error of this type that `call` throws. An Interrupt passes.
template <class E, class F>
std::string error_of(F&& call) {
    try {
        call();
    } catch (const E& error) {
        return error.what();
    } catch (const std::exception& error) {
        return std::string("another error: ") + error.what();
    }
    return "no error";
}

}  // namespace dbos::test
