// dbos-archive: a durable file pipeline. See README.md.
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "options.hpp"
#include "run.hpp"
#include "worker.hpp"

namespace {

int fail(const std::exception& error, int code) {
    std::cerr << "dbos-archive: " << error.what() << '\n';
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        if (arguments == std::vector<std::string>{"--worker"}) return archive::run_worker();
    } catch (const std::exception& error) {
        return fail(error, 1);
    }
    archive::Options options;
    try {
        options = archive::parse_options(arguments);
    } catch (const std::exception& error) {
        return fail(error, 2);
    }
    if (options.help) {
        std::cout << archive::usage();
        return 0;
    }
    try {
        return archive::run(options);
    } catch (const std::exception& error) {
        return fail(error, 1);
    }
}
