// What must hold at the end of a chaos run, by plain SQL on the server itself and with no help of the engine.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sql/connection.hpp"
#include "support/process.hpp"

namespace dbos::chaos {

/// What the client was told. Thread-safe.
class Known {
   public:
    void accepted(const std::string& id) {
        const std::lock_guard lock(mutex_);
        accepted_.insert(id);
    }
    /// A wait has returned: the value, or nullopt for an error.
    void outcome(const std::string& id, std::optional<std::string> value) {
        const std::lock_guard lock(mutex_);
        outcomes_.emplace(id, std::move(value));
    }
    /// A call failed that must not.
    void wrong(const std::string& what) {
        const std::lock_guard lock(mutex_);
        wrong_.push_back(what);
    }
    std::set<std::string> all_accepted() const {
        const std::lock_guard lock(mutex_);
        return accepted_;
    }
    std::map<std::string, std::optional<std::string>> all_outcomes() const {
        const std::lock_guard lock(mutex_);
        return outcomes_;
    }
    std::vector<std::string> all_wrong() const {
        const std::lock_guard lock(mutex_);
        return wrong_;
    }

   private:
    mutable std::mutex mutex_;
    std::set<std::string> accepted_;
    std::map<std::string, std::optional<std::string>> outcomes_;
    std::vector<std::string> wrong_;
};

struct Verdict {
    std::size_t workflows = 0;    // rows
    std::size_t steps = 0;        // records of steps with a body
    std::size_t begun_again = 0;  // executions that were lost with their process or their lease: allowed
    std::vector<std::string>
        lost;  // accepted and not there; an outcome that the records or the caller contradict
    std::vector<std::string> repeated;  // begun after its record was committed; recorded twice, or late
    std::vector<std::string> stranded;  // not ended
};

/// Rows that have not ended.
std::vector<std::string> unfinished(sql::Connection& server);

/// `server` must have been started with track_commit_timestamp=on, on this host: when a record was committed is compared with
/// the times in the side log.
Verdict judge(sql::Connection& server, const Known& known, const test::SideLog& side);

}  // namespace dbos::chaos
