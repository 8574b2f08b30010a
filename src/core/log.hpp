// How the library logs: through the sink of the App or Client, never throwing, never building fields for nobody.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "dbos/log.hpp"

namespace dbos {

/// Hands a record to the sink, if there is one. What the sink throws is dropped: a log must not break a workflow.
inline void log_to(const LogSink& sink, LogLevel level, const char* message,
                   std::vector<std::pair<std::string, std::string>> fields = {}) noexcept {
    if (!sink) return;
    try {
        sink(LogRecord{.level = level, .message = message, .fields = std::move(fields)});
    } catch (...) {
    }
}

}  // namespace dbos
