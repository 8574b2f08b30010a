#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "chaos/pg/misbehave.hpp"
#include "chaos/pg/run.hpp"

#include <sys/wait.h>

namespace dbos::chaos {

namespace {

struct Output {
    std::string text;
    int code = 0;
};

Output output_of(const std::string& arguments) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::FILE* pipe = ::popen(("'" + self + "' " + arguments + " 2>&1").c_str(), "re");
    if (pipe == nullptr) throw std::runtime_error("popen failed");
    Output output;
    std::array<char, 4096> buffer{};
    while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe))
        output.text.append(buffer.data(), got);
    const int status = ::pclose(pipe);
    output.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return output;
}

/// What was meant to be found leaves no logs behind.
void forget_logs(const std::string& text) {
    const std::string words = "the logs are in ";
    const auto at = text.find(words);
    if (at == std::string::npos) return;
    const auto from = at + words.size();
    std::filesystem::remove_all(text.substr(from, text.find('\n', from) - from));
}

/// Whether the run ended with the code, and its last line has the word with a number that is not 0.
bool expect(const std::string& arguments, int code, const std::string& finding) {
    const Output output = output_of(arguments);
    const auto at = output.text.rfind("\nchaos: ");
    const std::string line = at == std::string::npos ? "no verdict\n" : output.text.substr(at + 1);
    const bool said = finding.empty() || (line.find(" " + finding) != std::string::npos &&
                                          line.find(" 0 " + finding) == std::string::npos);
    const bool good = output.code == code && said;
    std::printf("%s: %s: exit code %d, %s", good ? "proved" : "NOT PROVED", arguments.c_str(), output.code,
                line.c_str());
    if (good) {
        forget_logs(output.text);
    } else {
        std::printf("%s", output.text.c_str());
    }
    std::fflush(stdout);
    return good;
}

}  // namespace

int prove() {
    const bool histories = prove_history() == 0;
    std::size_t failed = 0, total = 2;
    failed += expect("--calm --seconds 3", 0, "") ? 0 : 1;
    failed += expect("--calm --seconds 1 --every-kind", 1, "unreached") ? 0 : 1;
    for (const Proof& proof : proofs()) {
        const bool slow = std::strcmp(proof.finding, "deaf") == 0;  // it takes longer than what is allowed
        const std::string arguments =
            std::string("--calm --seconds 4 --drain ") + (slow ? "30" : "8") + " --misbehave " + proof.how;
        failed += expect(arguments, 1, proof.finding) ? 0 : 1;
        ++total;
    }
    std::printf("chaos: %zu of %zu oracles proved\n", total - failed, total);
    return failed == 0 && histories ? 0 : 1;
}

}  // namespace dbos::chaos
