#include "options.hpp"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <stdexcept>
#include <system_error>

#include "files.hpp"

#ifndef DBOS_ARCHIVE_SOURCE_TREE
#define DBOS_ARCHIVE_SOURCE_TREE ""
#endif

namespace archive {

namespace fs = std::filesystem;

namespace {

int number(const std::string& option, const std::string& text, int least, int most) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
        throw std::runtime_error(option + " needs a number from " + std::to_string(least) + " to " +
                                 std::to_string(most) + ", not \"" + printable(text) + '"');
    }
    return value;
}

// The demonstration archives the project itself: the tree this program was built from, or the current directory.
fs::path source_tree() {
    const fs::path built_from = DBOS_ARCHIVE_SOURCE_TREE;
    std::error_code ignored;
    return !built_from.empty() && fs::is_directory(built_from, ignored) ? built_from : fs::current_path();
}

fs::path existing_directory(const fs::path& path) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    const std::string shown = printable(path.native());
    if (status.type() == fs::file_type::not_found)
        throw std::runtime_error("the directory " + shown + " does not exist");
    if (error) throw std::runtime_error("cannot look at " + shown + ": " + error.message());
    if (status.type() != fs::file_type::directory) throw std::runtime_error(shown + " is not a directory");
    if (::access(path.c_str(), R_OK | X_OK) != 0) {
        throw std::runtime_error("the directory " + shown +
                                 " cannot be read: " + std::generic_category().message(errno));
    }
    return fs::canonical(path);
}

// What exists of the path must be a directory that we may write to; the rest is created later.
fs::path possible_output(const fs::path& path) {
    const std::string shown = printable(path.native());
    fs::path existing = fs::weakly_canonical(fs::absolute(path));
    if (!existing.has_filename()) existing = existing.parent_path();  // a slash at the end
    const fs::path result = existing;
    std::error_code ignored;
    while (!fs::exists(existing, ignored) && existing != existing.parent_path())
        existing = existing.parent_path();
    if (!fs::is_directory(existing, ignored)) {
        throw std::runtime_error("cannot write to " + shown + ": " + printable(existing.native()) +
                                 " is not a directory");
    }
    if (::access(existing.c_str(), W_OK | X_OK) != 0) {
        throw std::runtime_error("cannot write to " + shown + ": " + std::generic_category().message(errno));
    }
    return result;
}

void check_text(const fs::path& path) {
    if (!is_utf8(path.native())) {
        throw std::runtime_error("the path " + printable(path.native()) +
                                 " is not UTF-8: paths are stored as text, rename the directory");
    }
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments) {
    Options options;
    std::vector<std::string> paths;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        const auto value = [&]() -> const std::string& {
            if (i + 1 == arguments.size())
                throw std::runtime_error(argument + " needs a value; --help shows the options");
            return arguments[++i];
        };
        if (argument == "--help" || argument == "-h") {
            options.help = true;
            return options;
        } else if (argument == "--demo") {
            options.demo = true;
        } else if (argument == "--no-restart") {
            options.restart = false;
        } else if (argument == "--db") {
            options.database_url = value();
            if (options.database_url.empty()) throw std::runtime_error("--db needs a connection URL");
        } else if (argument == "--workers") {
            options.workers = number(argument, value(), 1, 64);
        } else if (argument == "--kill-after") {
            options.kill_after = number(argument, value(), 1, 1'000'000);
        } else if (argument == "--") {
            paths.insert(paths.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                         arguments.end());
            break;
        } else if (argument.size() > 1 && argument.front() == '-') {
            throw std::runtime_error("unknown option " + printable(argument) + "; --help shows the options");
        } else {
            paths.push_back(argument);
        }
    }
    if (paths.size() > 2)
        throw std::runtime_error("one DIRECTORY and one OUT are needed, not " + std::to_string(paths.size()) +
                                 " paths");
    if (!options.demo && paths.size() < 2)
        throw std::runtime_error("DIRECTORY and OUT are needed; --help shows how");
    options.sources_only = paths.empty();
    options.directory = existing_directory(paths.empty() ? source_tree() : fs::path(paths[0]));
    options.out = possible_output(paths.size() < 2 ? fs::path("demo/archive") : fs::path(paths[1]));
    if (options.directory == options.out)
        throw std::runtime_error("OUT must be another directory than DIRECTORY");
    check_text(options.directory);
    check_text(options.out);
    return options;
}

const char* usage() noexcept {
    return R"(usage: dbos-archive DIRECTORY OUT [options]
       dbos-archive --demo [DIRECTORY [OUT]] [options]

Archives every regular file below DIRECTORY into OUT: hash, compress with zstd, verify, publish under the hash of its
content, and a manifest.json. The work is done by durable workflows in worker processes; kill them, or all of it, at any
moment, and give the same command again: it goes on where it was.

  --db URL         where the state lives: sqlite:///path or postgresql://…
                   (default: a SQLite file in OUT/.dbos-archive)
  --workers N      worker processes (default 3)
  --kill-after N   each time N more files are finished, kill (SIGKILL) a worker that has steps in flight
  --no-restart     do not replace workers that die
  --demo           slow steps, killed workers; DIRECTORY defaults to the sources of this program, OUT to demo/archive
  --help           this text

Symbolic links, special files and names that are not UTF-8 are told and left out. Files that vanish, change or cannot be
read are told with the reason, and stand so in the manifest; that is no error of the run.
NO_COLOR is honoured. Exit codes: 0 everything verified; 1 something is wrong, told in a sentence; 2 the command line is
wrong; 128 + N ended by signal N.
)";
}

}  // namespace archive
