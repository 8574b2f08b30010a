#include "dbos/log.hpp"

#include <unistd.h>

#include <chrono>

#include "platform/seam.hpp"
#include "value/json.hpp"
#include "value/text.hpp"
#include "value/time_text.hpp"

namespace dbos {
namespace {

bool bare(const std::string& text) {
    if (text.empty() || find_invalid_utf8(text) != std::string::npos) return false;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20U || byte == 0x7FU || c == '"' || c == '=' || c == '\\') return false;
    }
    return true;
}

void append_value(std::string& line, const std::string& text) {
    if (bare(text)) {
        line += text;
        return;
    }
    const std::size_t start = line.size();
    if (append_json_string(line, text)) return;
    line.resize(start);
    line += "\"(not UTF-8)\"";
}

}  // namespace

const char* to_string(LogLevel level) noexcept {
    constexpr const char* names[] = {"debug", "info", "warn", "error"};
    return names[static_cast<std::size_t>(level)];
}

std::string to_logfmt(const LogRecord& record) {
    std::string line = std::string("level=") + to_string(record.level) + " msg=";
    (void)append_json_string(line, record.message);
    for (const auto& [key, value] : record.fields) {
        line += " " + key + "=";
        append_value(line, value);
    }
    return line;
}

LogSink stderr_log_sink(LogLevel minimum) {
    return [minimum](const LogRecord& record) {
        if (record.level < minimum) return;
        const auto now = std::chrono::floor<std::chrono::milliseconds>(seam::wall_now());
        const std::string line =
            "time=" + format_epoch_ms(now.time_since_epoch().count()) + " " + to_logfmt(record) + "\n";
        // One call, so that lines of several threads and processes do not mix. Nothing can be done about a
        // failure.
        [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
    };
}

}  // namespace dbos
