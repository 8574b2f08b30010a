// What must hold at the end of a chaos run, by plain SQL on the server itself and with no help of the engine.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chaos/pg/timeline.hpp"
#include "sql/connection.hpp"
#include "support/process.hpp"

namespace dbos::chaos {

/// Word of the verdict → what was found.
using Findings = std::map<std::string, std::vector<std::string>>;

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
    /// Something that must not be, and the word of the verdict for it.
    void wrong(const std::string& word, const std::string& what) {
        const std::lock_guard lock(mutex_);
        wrong_[word].push_back(what);
    }
    std::set<std::string> all_accepted() const {
        const std::lock_guard lock(mutex_);
        return accepted_;
    }
    std::map<std::string, std::optional<std::string>> all_outcomes() const {
        const std::lock_guard lock(mutex_);
        return outcomes_;
    }
    Findings all_wrong() const {
        const std::lock_guard lock(mutex_);
        return wrong_;
    }

   private:
    mutable std::mutex mutex_;
    std::set<std::string> accepted_;
    std::map<std::string, std::optional<std::string>> outcomes_;
    Findings wrong_;
};

struct Verdict {
    std::size_t workflows = 0;    // rows
    std::size_t steps = 0;        // records of steps with a body
    std::size_t begun_again = 0;  // executions that were lost with their process or their lease: allowed
    std::size_t taken_over = 0;   // rows taken from executors that were dead, or taken for dead: allowed
    std::size_t cancelled = 0;    // while a body ran
    Micros slowest_cancel_us =
        0;  // until the body was left; without the time in which nobody could have heard of it
    Findings found;
    void add(const char* word, std::string what) { found[word].push_back(std::move(what)); }
};

/// Rows that have not ended.
std::vector<std::string> unfinished(sql::Connection& server);

/// The words of the verdict:
/// lost      accepted and not there; an outcome that the records or the caller contradict; a row or record that went; a call
///           that failed
/// repeated  a body that began after its record was committed; recorded twice, or late
/// stranded  not ended
/// limits    more workflows of a queue at once than it has room for
/// robbed    a row taken from an executor that lived and had a lease
/// changed   an outcome or a record that was another one before
/// deaf      a body that goes on, or begins, long after its workflow was cancelled
/// exits     a worker that ended by itself (the driver adds these)
/// The server must have been started with track_commit_timestamp=on, on this host (commits are compared with the times in the
/// side log), and watched (Server::watch).
Verdict judge(sql::Connection& server, const Known& known, const test::SideLog& side,
              const Timeline& timeline);

}  // namespace dbos::chaos
