// Drives an application of a published SDK through the whole surface of the client (see drive, and docs/wire/interop.md).
//
//   interop_driver URL LANGUAGE LABEL COMMAND...    LANGUAGE: python or typescript; COMMAND starts a client of that language
//
// Ends with `interop: c++ client -> LABEL: 61 passed, 0 failed`.
#include "driver.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>

#include <dbos/serializer.hpp>

namespace interop {

Peer::Peer(const std::vector<std::string>& command) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw std::runtime_error("no socket pair");
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    child_ = fork();
    if (child_ == 0) {
        dup2(ends[1], 0);
        dup2(ends[1], 1);
        execvp(words[0], words.data());
        _exit(127);
    }
    close(ends[1]);
    socket_ = ends[0];
    const timeval limit{.tv_sec = 60, .tv_usec = 0};  // of one answer
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

Peer::~Peer() {
    close(socket_);  // the end of its standard input
    waitpid(child_, nullptr, 0);
}

Value Peer::call(const std::string& name, Object arguments) {
    const auto json = dbos::serializers::portable_json();
    arguments.emplace_back("call", name);
    const std::string line = json->encode(std::move(arguments)) + '\n';
    if (send(socket_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
        return Array{"the other client does not answer", ""};
    std::size_t end = unread_.find('\n');
    while (end == std::string::npos) {
        char buffer[65536];
        const ssize_t got = read(socket_, buffer, sizeof buffer);
        if (got <= 0) return Array{"the other client does not answer", ""};
        unread_.append(buffer, static_cast<std::size_t>(got));
        end = unread_.find('\n');
    }
    const Value answer = json->decode(unread_.substr(0, end));
    unread_.erase(0, end + 1);
    if (const Value* error = answer.find("error")) return Array{*error, answer.at("message")};
    return answer.at("result");
}

}  // namespace interop

int main(int argc, char** argv) {
    using namespace interop;
    if (argc < 5) {
        std::cerr << "usage: interop_driver URL LANGUAGE LABEL COMMAND...\n";
        return 2;
    }
    const std::string url = argv[1];
    Checks checks;
    try {
        dbos::Client client({.system_database_url = url, .application_name = "interop"});
        std::vector<std::string> command(argv + 4, argv + argc);
        command.push_back(url);
        Peer peer(command);
        Drive drive{client, checks, peer, argv[2], url.starts_with("sqlite")};
        const std::pair<const char*, void (*)(Drive&)> parts[] = {
            {"enqueue", check_enqueue},   {"queues", check_queues},     {"messages", check_messages},
            {"streams", check_streams},   {"listing", check_listing},   {"manage", check_manage},
            {"forks", check_forks},       {"debounce", check_debounce}, {"schedules", check_schedules},
            {"versions", check_versions}, {"native", check_native},     {"both", check_both}};
        for (const auto& [name, part] : parts) {
            try {
                part(drive);
            } catch (const std::exception& error) {
                checks.equal(std::string(name) + ": goes through", error.what(), "no error");
            }
        }
    } catch (const std::exception& error) {
        checks.equal("the driver starts", error.what(), "no error");
    }
    std::cout << "interop: c++ client -> " << argv[3] << ": " << checks.passed() << " passed, "
              << checks.failed() << " failed\n";
    return checks.failed() == 0 && checks.passed() > 0 ? 0 : 1;
}
