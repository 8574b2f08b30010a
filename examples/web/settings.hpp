// The command line of the demo programs.
#pragma once

#include <cstdlib>
#include <iostream>
#include <string>

namespace web {

struct Settings {
    std::string database_url = {};
    std::string host = "127.0.0.1";
    int port = 8000;  // 0: any free one
};

/// Reads `--db URL`, `--host ADDRESS` and `--port NUMBER`. Without --db the environment variable DBOS_SYSTEM_DATABASE_URL
/// names the database, else `default_url` does. Ends the program with a sentence if the command line makes no sense.
inline Settings parse_settings(int argc, char** argv, const std::string& default_url) {
    Settings settings;
    const char* environment = std::getenv("DBOS_SYSTEM_DATABASE_URL");
    settings.database_url = environment != nullptr && *environment != '\0' ? environment : default_url;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
        const bool number =
            !value.empty() && value.size() <= 5 && value.find_first_not_of("0123456789") == std::string::npos;
        if (name == "--db" && !value.empty()) {
            settings.database_url = value;
        } else if (name == "--host" && !value.empty()) {
            settings.host = value;
        } else if (name == "--port" && number) {
            settings.port = std::stoi(value);
        } else {
            std::cerr << "usage: " << argv[0] << " [--db URL] [--host ADDRESS] [--port NUMBER]\n";
            std::exit(2);
        }
    }
    return settings;
}

}  // namespace web
