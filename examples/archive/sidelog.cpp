#include "sidelog.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "files.hpp"

namespace archive {

namespace {

constexpr std::array<std::string_view, 10> kEvents = {"run",   "start", "kill", "exit",   "gone",
                                                      "begin", "end",   "fail", "replay", "done"};

std::string reason() { return std::generic_category().message(errno); }

// A field holds no blank; an empty one is a dash.
std::string field(const std::string& text) {
    if (text.empty()) return "-";
    std::string result = text;
    std::replace_if(result.begin(), result.end(), [](char c) { return c == ' ' || c == '\n'; }, '_');
    return result;
}

std::string unfield(std::string text) { return text == "-" ? std::string() : text; }

Record parse(const std::string& line, std::int64_t number) {
    std::istringstream in(line);
    Record record;
    std::string kind;
    in >> record.time_ms >> kind >> record.process >> record.pid >> record.workflow >> record.step >>
        record.execution;
    const auto* event = std::find(kEvents.begin(), kEvents.end(), kind);
    if (!in || event == kEvents.end()) {
        throw std::runtime_error("line " + std::to_string(number) +
                                 " of the side log is no record: " + printable(line));
    }
    record.event = static_cast<Event>(event - kEvents.begin());
    in.get();
    std::getline(in, record.rest);
    record.process = unfield(std::move(record.process));
    record.workflow = unfield(std::move(record.workflow));
    record.step = unfield(std::move(record.step));
    record.execution = unfield(std::move(record.execution));
    return record;
}

}  // namespace

std::filesystem::path log_path(const std::filesystem::path& out) {
    return state_directory(out) / "steps.log";
}

SideLog::SideLog(const std::filesystem::path& path)
    : fd_(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) {
    if (fd_ < 0) throw std::runtime_error("cannot open the side log " + path.native() + ": " + reason());
}
SideLog::~SideLog() { ::close(fd_); }

void SideLog::append(const Record& record) const {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const std::string head =
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
    const std::string line = head + ' ' + std::string(kEvents.at(static_cast<std::size_t>(record.event))) +
                             ' ' + field(record.process) + ' ' + std::to_string(record.pid) + ' ' +
                             field(record.workflow) + ' ' + field(record.step) + ' ' +
                             field(record.execution) + ' ' + printable(record.rest).substr(0, 1000) + '\n';
    if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        throw std::runtime_error("cannot append to the side log: " + reason());
    }
}

LogReader::~LogReader() {
    if (fd_ >= 0) ::close(fd_);
}

std::vector<Record> LogReader::read() {
    if (fd_ < 0) fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) throw std::runtime_error("cannot open the side log " + path_.native() + ": " + reason());
    std::vector<Record> records;
    std::array<char, 1U << 16> block{};
    for (;;) {
        const ssize_t got = ::read(fd_, block.data(), block.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw std::runtime_error("cannot read the side log: " + reason());
        if (got == 0) return records;
        rest_.append(block.data(), static_cast<std::size_t>(got));
        std::size_t begin = 0;
        for (std::size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
            records.push_back(parse(rest_.substr(begin, end - begin), ++line_));
        }
        rest_.erase(0, begin);
    }
}

void LogState::add(const Record& record) {
    const std::size_t position = ++position_;
    if (record.event == Event::run) return;
    Process& process = processes_[record.process];
    const StepKey key{record.workflow, record.step};
    switch (record.event) {
        case Event::run: break;
        case Event::start: process.pid = record.pid; break;
        case Event::kill:
        case Event::exit:
        case Event::gone:
            process.dead = true;
            process.died = position;
            process.killed = record.event == Event::kill;
            process.by_signal = record.event == Event::gone || record.rest.starts_with("signal");
            break;
        case Event::begin:
            process.in_flight.insert(record.execution);
            steps_[key].push_back({.id = record.execution, .process = record.process, .began = position});
            break;
        case Event::end:
        case Event::fail:
            process.in_flight.erase(record.execution);
            for (Execution& execution : steps_[key]) {
                if (execution.id != record.execution) continue;
                execution.ended = record.event == Event::end;
                execution.failed = record.event == Event::fail;
            }
            if (record.event == Event::end) ++executed_;
            break;
        case Event::replay: ++replayed_; break;
        case Event::done: done_[record.workflow] = record.rest; break;
    }
}

std::int64_t LogState::kills() const noexcept {
    return std::count_if(processes_.begin(), processes_.end(), [](const auto& entry) {
        const Process& process = entry.second;
        return process.killed || (process.by_signal && !process.in_flight.empty());
    });
}

}  // namespace archive
