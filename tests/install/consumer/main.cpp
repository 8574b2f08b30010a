// A program outside of the project, built against the installed package.
#if __has_include(<dbos/dbos.hpp>)
#include <dbos/dbos.hpp>
#endif
#include <dbos/error.hpp>
#include <dbos/version.hpp>
#include <iostream>

int main() {
    std::cout << "dbos " << dbos::version() << '\n';
    try {  // an exception class of the library is the same type on both sides of a shared library
        throw dbos::ConfigError("thrown by the consumer");
    } catch (const dbos::Error& error) {
        std::cout << error.what() << '\n';
        return 0;
    }
    return 1;
}
