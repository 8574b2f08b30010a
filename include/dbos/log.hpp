// Logging: records go to a sink that the application chooses (option `log_sink`); there is no process-global
// logger.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dbos/export.hpp"

namespace dbos {

enum class LogLevel : std::uint8_t { debug, info, warn, error };

/// `debug`, `info`, `warn`, `error`.
DBOS_EXPORT const char* to_string(LogLevel level) noexcept;

/// One event. The message is a constant, so that it can be searched for; what varies stands in the fields.
struct LogRecord {
    LogLevel level = LogLevel::info;
    const char* message = "";
    std::vector<std::pair<std::string, std::string>> fields = {};
};

/// Called from the library's threads, several at a time. May throw: what it throws is dropped.
using LogSink = std::function<void(const LogRecord&)>;

/// The default sink: one logfmt line on standard error for each record at `minimum` and up, written in one
/// call.
DBOS_EXPORT LogSink stderr_log_sink(LogLevel minimum = LogLevel::info);

/// The line that stderr_log_sink writes, without time and end of line: `level=info msg="…" key=value`.
DBOS_EXPORT std::string to_logfmt(const LogRecord& record);

}  // namespace dbos
