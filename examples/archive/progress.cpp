#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

namespace archive {

namespace {

constexpr std::size_t kWidth = 30;

bool set_and_not_empty(const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && *value != '\0';
}

std::string counts(const Progress::Numbers& n) {
    return std::to_string(n.done) + "/" + std::to_string(n.files) + " files, " + std::to_string(n.executed) +
           " steps run, " + std::to_string(n.replayed) + " replayed, " + std::to_string(n.kills) +
           " kills, " + std::to_string(n.workers) + " workers";
}

}  // namespace

Progress::Progress()
    : terminal_(::isatty(STDOUT_FILENO) == 1), colour_(terminal_ && !set_and_not_empty("NO_COLOR")) {}

std::string Progress::paint(const char* code, const std::string& text) const {
    return colour_ ? std::string("\033[") + code + 'm' + text + "\033[0m" : text;
}

void Progress::show(const Numbers& n) {
    if (!terminal_) {
        if (n.done < next_line_at_) return;
        std::cout << "  " << counts(n) << std::endl;
        next_line_at_ = n.done == n.files
                            ? n.files + 1
                            : std::min(n.files, n.done + std::max<std::size_t>(1, n.files / 10));
        return;
    }
    const std::size_t filled = n.files == 0 ? kWidth : kWidth * n.done / n.files;
    const std::string bar =
        '[' + paint("32", std::string(filled, '#')) + std::string(kWidth - filled, '.') + "] " + counts(n);
    if (bar == last_bar_ && bar_shown_) return;
    std::cout << "\r\033[K" << bar << std::flush;
    bar_shown_ = true;
    last_bar_ = bar;
}

void Progress::say(const std::string& line) {
    if (bar_shown_) std::cout << "\r\033[K";
    bar_shown_ = false;
    std::cout << line << std::endl;
}

void Progress::finish() {
    if (bar_shown_) std::cout << std::endl;
    bar_shown_ = false;
}

void Progress::good(const std::string& line) { say(paint("32", line)); }
void Progress::bad(const std::string& line) { say(paint("31", line)); }

}  // namespace archive
