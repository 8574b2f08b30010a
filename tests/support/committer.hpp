// A committer whose two connections fail, and stop before commits, as the test wants it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "support/collected.hpp"
#include "support/faulty_connection.hpp"
#include "support/system_database.hpp"

namespace dbos::test {

class CommitterTest : public SystemDatabaseTest {
   public:
    void SetUp() override {
        SystemDatabaseTest::SetUp();
        if (IsSkipped() || HasFailure()) return;
        database_ = lanes();
        database_->start_workflow(pending("first", "t"));
    }
    void TearDown() override {
        main_->open_gate();
        side_->open_gate();
        database_.reset();
        SystemDatabaseTest::TearDown();
    }

    /// Connections of the thread that writes first, the committer's main one, have the faults of main(), all others those of
    /// side(). `opening` is called whenever the main one connects.
    std::unique_ptr<sysdb::SystemDatabase> lanes(sysdb::DatabaseOptions with = {},
                                                 std::function<void()> opening = {}) {
        struct Threads {
            seam::Mutex mutex;
            std::optional<seam::ThreadId> main;
        };
        with.decorate =
            [threads = std::make_shared<Threads>(), opening = std::move(opening), main = main_,
             side = side_](std::unique_ptr<sql::Connection> inner) -> std::unique_ptr<sql::Connection> {
            bool is_main = false;
            {
                const std::lock_guard<seam::Mutex> lock(threads->mutex);
                if (!threads->main) threads->main = seam::thread_id();
                is_main = *threads->main == seam::thread_id();
            }
            if (is_main && opening) opening();
            return std::make_unique<FaultyConnection>(std::move(inner), is_main ? main : side);
        };
        return make(std::move(with));
    }
    /// What `submit` submits stands in one batch (as far as the committer lets it), which begins after one commit of its own.
    template <class F>
    void together(F&& submit) {
        hold();
        submit();
        main().open_gate();
        ASSERT_TRUE(collected_.wait());
    }
    /// Stops the main connection before a commit: what is submitted from here on waits until main().open_gate().
    void hold() {
        main().close_gate();
        record("first", next_++, collected_.step("gate"));
        main().wait_for_commit();
    }

    /// Another database object to work with instead.
    void use(std::unique_ptr<sysdb::SystemDatabase> database) {
        database_ = std::move(database);
        database_->start_workflow(pending("second", "t"));
    }
    void record(const std::string& id, std::int32_t number, sysdb::Completion<sysdb::StepResult> done,
                const std::string& output = "1", sysdb::OnConflict on_conflict = sysdb::OnConflict::report) {
        database_->record_step_async({id, "t"}, step(number, output, 2000), on_conflict, std::move(done));
    }
    void end(const std::string& id, bool success, const std::string& payload,
             sysdb::Completion<sysdb::OutcomeResult> done) {
        database_->record_outcome_async({{id, "t"}, success, payload, {}}, std::move(done));
    }
    static sysdb::ChildStart child(const std::string& parent, std::int32_t number,
                                   const sysdb::NewWorkflow& workflow) {
        sysdb::ChildStart start;
        start.parent = {parent, "t"};
        start.checkpoint = step(number, "", 5000);
        start.checkpoint.output.reset();
        start.child = workflow;
        return start;
    }

    sysdb::SystemDatabase& database() { return *database_; }
    Faults& main() { return *main_; }
    Faults& side() { return *side_; }
    Collected& collected() { return collected_; }

   private:
    std::shared_ptr<Faults> main_ = std::make_shared<Faults>();
    std::shared_ptr<Faults> side_ = std::make_shared<Faults>();
    Collected collected_;
    std::unique_ptr<sysdb::SystemDatabase> database_;
    std::int32_t next_ = 1000;
};

}  // namespace dbos::test
