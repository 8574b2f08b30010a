// What watches the runs of an App from inside, for dbos::testing. There is none in production: each place that calls it tests
// one pointer, beside a call of the database.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "sysdb/records.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::client {
struct CoreOptions;
}

namespace dbos::runtime {

class Run;

/// Where a process may die between two of its writes.
enum class Point : std::uint8_t {
    body,        // the body is about to be called
    step,        // the callable of a step or transaction is about to be called
    checkpoint,  // what the operation did is about to be written
    committed,  // a transaction in a database of the program has committed, its checkpoint is about to be written
    recorded,  // the checkpoint has been committed
    outcome,   // the result or error is about to be written
    ended      // it has been committed
};

class Probe {
   public:
    virtual ~Probe() = default;
    /// A run has come to a point; number 0 = none of its operations. On the thread that goes on there, or on the committer's. May
    /// block where a body may; may interrupt the run, which is thrown there then.
    virtual void reached(Run& run, Point point, std::int32_t number, const std::string& name,
                         int attempt) = 0;
    /// The body asks for an operation; `record` is what its history holds under the number, or null.
    virtual void asked(Run& run, std::int32_t number, const std::string& name,
                       const sysdb::StepRecord* record) = 0;
    /// The outcome that is about to be written: called before `reached` with Point::outcome.
    virtual void outcome(Run& run, bool success, const std::string& payload) = 0;
};

/// How dbos::testing changes an App.
struct Instruments {
    Probe* probe = nullptr;  // must outlive the App
    /// Changes how the system database is opened.
    std::function<void(sysdb::DatabaseOptions&)> database = {};
    /// Changes the core of the client within the App.
    std::function<void(client::CoreOptions&)> core = {};
    /// How long a launch tries to reach its databases after it has failed to.
    seam::Duration launch_patience = std::chrono::seconds(10);
};

}  // namespace dbos::runtime
