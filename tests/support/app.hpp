// Applications for tests: on the test's own database, with a log that can be looked at and gates instead of sleeps.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dbos/dbos.hpp"
#include "support/database.hpp"

namespace dbos::test {

/// Blocks whoever passes until it is opened; tells how many have arrived.
class Gate {
   public:
    void pass() {
        std::unique_lock lock(mutex_);
        ++arrived_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return open_; });
    }
    void open() {
        std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    /// Whether `count` have arrived in time.
    bool wait_for_arrivals(int count, int seconds = 20) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(seconds), [&] { return arrived_ >= count; });
    }
    int arrived() {
        std::lock_guard lock(mutex_);
        return arrived_;
    }

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int arrived_ = 0;
    bool open_ = false;
};

/// Keeps what was logged. Copies share it.
class LogBook {
   public:
    LogSink sink() const {
        return [state = state_](const LogRecord& record) {
            std::lock_guard lock(state->mutex);
            state->lines.push_back(to_logfmt(record));
        };
    }
    int count(const std::string& text) const {
        std::lock_guard lock(state_->mutex);
        int found = 0;
        for (const auto& line : state_->lines) found += line.find(text) != std::string::npos ? 1 : 0;
        return found;
    }
    std::string text() const {
        std::lock_guard lock(state_->mutex);
        std::string all;
        for (const auto& line : state_->lines) all += line + "\n";
        return all;
    }

   private:
    struct State {
        std::mutex mutex;
        std::vector<std::string> lines;
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

class AppTest : public DatabaseTest {
   public:
    /// Options of an application on this test's database; a short lease, so that a take-over does not take long.
    AppOptions app_options(std::string name = "test-app") {
        AppOptions options;
        options.name = std::move(name);
        options.system_database_url = database().url();
        options.dbos_system_schema = database().schema();
        options.lease_duration = std::chrono::milliseconds(1500);
        options.lease_renewal = std::chrono::milliseconds(300);
        options.log_sink = log.sink();
        // The same tests also run with waits that all park at once.
        if (const char* park_after = std::getenv("DBOS_TEST_PARK_AFTER"))
            options.park_after = Duration(std::atof(park_after));
        return options;
    }
    /// One value of a query on the test's database.
    std::string scalar(const std::string& sql) {
        const auto result = open()->query(sql);
        return result.empty() || result.at(0, 0).null() ? "" : result.at(0, 0).string();
    }
    void execute(const std::string& sql) { open()->query(sql, {}, sql::Access::write); }
    void TearDown() override {
        if (HasFailure()) std::cerr << log.text();
        DatabaseTest::TearDown();
    }
    LogBook log;
};

}  // namespace dbos::test
