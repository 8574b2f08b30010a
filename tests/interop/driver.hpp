// What the parts of the driver share: named checks, waiting, and a client of the other language to talk to.
#pragma once

#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <dbos/client.hpp>

namespace interop {

using namespace std::chrono_literals;
using dbos::Array;
using dbos::Object;
using dbos::Value;

/// Counts what was checked and shows what was not as expected.
class Checks {
   public:
    void equal(const std::string& name, const Value& got, const Value& expected) {
        if (got == expected) {
            ++passed_;
            std::cout << "ok      " << name << std::endl;
            return;
        }
        ++failed_;
        std::cout << "not ok  " << name << "\n          got      " << got.dump() << "\n          expected "
                  << expected.dump() << std::endl;
    }
    void holds(const std::string& name, bool got) { equal(name, got, true); }
    /// The error type and whatever else `call` shows of what it throws.
    template <class E, class Call>
    void throws(const std::string& name, Call&& call) {
        std::string got = "no error";
        try {
            call();
        } catch (const E&) {
            got = "the error";
        } catch (const std::exception& error) {
            got = std::string("another error: ") + error.what();
        }
        equal(name, got, "the error");
    }
    int passed() const { return passed_; }
    int failed() const { return failed_; }

   private:
    int passed_ = 0;
    int failed_ = 0;
};

/// A client program of another language: one line of JSON to its standard input, one from its standard output.
class Peer {
   public:
    explicit Peer(const std::vector<std::string>& command);
    ~Peer();
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;
    /// The member `result` of the answer; its error as `[type, message]`.
    Value call(const std::string& name, Object arguments = {});

   private:
    int socket_ = -1;
    int child_ = -1;
    std::string unread_ = {};
};

/// One application under test and everything that its checks need.
struct Drive {
    dbos::Client& client;
    Checks& checks;
    Peer& peer;
    std::string language;  // python, typescript
    bool sqlite = false;

    bool python() const { return language == "python"; }
    /// Of two recorded times in milliseconds: some are rounded, others cut; with a SQLite before 3.42 Python records whole
    /// seconds.
    bool before(std::int64_t a, std::int64_t b) const { return b - a > (sqlite ? 999 : 1); }
    /// The number that the language gives to a workflow's first step.
    std::int64_t first_step() const { return python() ? 1 : 0; }
};

/// Looks again until `condition` holds, for a minute at most.
template <class Condition>
bool soon(Condition&& condition) {
    for (int look = 0; look < 1200; ++look) {
        if (condition()) return true;
        std::this_thread::sleep_for(50ms);
    }
    return false;
}

/// Waits until a workflow has this status.
inline bool reaches(dbos::Client& client, const std::string& id, dbos::Status status) {
    return soon([&] {
        return !client
                    .list_workflows(
                        {.workflow_ids = id, .status = status, .load_input = false, .load_output = false})
                    .empty();
    });
}

/// The result of a workflow; its failure as `[type, message]`.
template <class Handle>
Value outcome(const Handle& handle) {
    try {
        return dbos::to_value(handle.get_result({.polling_interval = 50ms, .timeout = 60s}));
    } catch (const dbos::WorkflowFailed& error) {
        return Array{error.failure().type_name, error.failure().message};
    } catch (const dbos::AwaitedWorkflowCancelled&) {
        return "cancelled";
    } catch (const std::exception& error) {
        return Array{"another error", error.what()};
    }
}

// The parts, in the order in which they run.
void check_enqueue(Drive& drive);
void check_queues(Drive& drive);
void check_messages(Drive& drive);
void check_streams(Drive& drive);
void check_listing(Drive& drive);
void check_manage(Drive& drive);
void check_forks(Drive& drive);
void check_debounce(Drive& drive);
void check_schedules(Drive& drive);
void check_versions(Drive& drive);
void check_native(Drive& drive);
void check_both(Drive& drive);

}  // namespace interop
