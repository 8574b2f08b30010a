// The bodies of the two workflows.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "contract.hpp"
#include "sidelog.hpp"

namespace archive {

/// One per worker process; its member functions are the bodies. Thread-safe: bodies run concurrently.
class Pipeline {
   public:
    /// `process` is the worker's name in the side log of `out`. Every step takes at least `pace` (0: as fast as it can);
    /// the demonstration is watchable by that.
    Pipeline(std::string process, const std::string& out, std::chrono::milliseconds pace);

    Summary archive_tree(dbos::Context& ctx, const Tree& tree) const;
    FileResult archive_file(dbos::Context& ctx, const FileJob& job) const;

   private:
    FileResult take_steps(dbos::Context& ctx, const FileJob& job) const;
    template <class F>
    auto logged_step(dbos::Context& ctx, const dbos::Name& name, F work) const;
    void log(Event event, const std::string& workflow, const std::string& step, const std::string& execution,
             const std::string& rest = {}) const;

    std::string process_;
    std::int64_t pid_;
    SideLog log_;
    std::chrono::milliseconds pace_;
    mutable std::atomic<std::int64_t> executions_{0};
};

}  // namespace archive
