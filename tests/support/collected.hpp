// Results of asynchronous writes, collected for a test.
#pragma once

#include <map>
#include <string>

#include "platform/seam.hpp"
#include "sysdb/system_database.hpp"

namespace dbos::test {

/// Completions by name; wait() returns when all have been called.
class Collected {
   public:
    sysdb::Completion<sysdb::StartResult> start(const std::string& name) {
        return expect<sysdb::StartResult>(name, starts_);
    }
    sysdb::Completion<sysdb::StepResult> step(const std::string& name) {
        return expect<sysdb::StepResult>(name, steps_);
    }
    sysdb::Completion<sysdb::OutcomeResult> outcome(const std::string& name) {
        return expect<sysdb::OutcomeResult>(name, outcomes_);
    }
    /// False if they do not come within `seconds`.
    bool wait(int seconds = 60) {
        std::unique_lock<seam::Mutex> lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(seconds), [this] { return open_ == 0; });
    }
    bool has(const std::string& name) {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        return starts_.contains(name) || steps_.contains(name) || outcomes_.contains(name) ||
               errors_.contains(name);
    }
    bool wait_for(const std::string& name, int seconds = 60) {
        std::unique_lock<seam::Mutex> lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(seconds), [&] {
            return starts_.contains(name) || steps_.contains(name) || outcomes_.contains(name) ||
                   errors_.contains(name);
        });
    }
    sysdb::StartResult started(const std::string& name) { return starts_.at(name); }
    sysdb::StepResult recorded(const std::string& name) { return steps_.at(name); }
    sysdb::OutcomeResult ended(const std::string& name) { return outcomes_.at(name); }
    std::exception_ptr error(const std::string& name) {
        return errors_.contains(name) ? errors_.at(name) : nullptr;
    }
    std::size_t errors() { return errors_.size(); }
    /// "start, step, …" in the order of completion.
    const std::vector<std::string>& order() const { return order_; }

   private:
    template <class R>
    sysdb::Completion<R> expect(const std::string& name, std::map<std::string, R>& into) {
        const std::lock_guard<seam::Mutex> lock(mutex_);
        ++open_;
        return [this, name, &into](R result, std::exception_ptr error) {
            const std::lock_guard<seam::Mutex> inner(mutex_);
            if (error) {
                errors_[name] = error;
            } else {
                into[name] = std::move(result);
            }
            order_.push_back(name);
            --open_;
            changed_.notify_all();
        };
    }

    seam::Mutex mutex_;
    seam::CondVar changed_;
    int open_ = 0;
    std::map<std::string, sysdb::StartResult> starts_;
    std::map<std::string, sysdb::StepResult> steps_;
    std::map<std::string, sysdb::OutcomeResult> outcomes_;
    std::map<std::string, std::exception_ptr> errors_;
    std::vector<std::string> order_;
};

}  // namespace dbos::test
