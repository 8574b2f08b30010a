// What is behind dbos::App.
#pragma once

#include <string>
#include <utility>

#include "dbos/app.hpp"
#include "runtime/executor.hpp"

namespace dbos {

struct App::Impl {
    explicit Impl(AppOptions options) : executor(std::move(options)) {}
    const int pid = seam::process_id();
    runtime::Executor executor;

    bool forked() const noexcept { return seam::process_id() != pid; }
    /// The executor, for an operation. Throws UsageError in a forked child, before any lock is taken.
    runtime::Executor& checked(const char* operation) {
        if (!forked()) return executor;
        throw UsageError(
            std::string(operation) +
            " was called in a forked child process: an App's threads, connections and lease stay with the "
            "parent; exec another program, or (not with the same SQLite file) make another App after fork()");
    }
};

}  // namespace dbos
