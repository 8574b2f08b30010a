// One application whose only body is what the test says, for the managing calls of contexts.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "support/app.hpp"
#include "support/errors.hpp"

namespace dbos::test {

inline constexpr auto Job = dbos::workflow<std::string()>("job");
inline constexpr auto Other = dbos::workflow<std::string()>("other");

class ContextManageTest : public AppTest {
   public:
    /// Of the workflows that run() starts …
    std::function<std::string(Context&)> body;
    /// … and of all others.
    std::function<std::string(Context&)> answer = [](Context& ctx) { return "from " + ctx.workflow_id(); };

    void SetUp() override {
        AppTest::SetUp();
        if (IsSkipped() || HasFatalFailure() || (postgres() && !postgres_url())) return;
        app_ = std::make_unique<App>(app_options());
        app_->implement(
            Job, [this](Context& ctx) { return subject(ctx.workflow_id()) ? body(ctx) : answer(ctx); });
        app_->register_queue({.name = "served"});
        app_->launch();
    }
    void TearDown() override {
        app_.reset();
        AppTest::TearDown();
    }
    App& app() { return *app_; }

    /// On a queue that nobody serves.
    void enqueue(const std::string& id) {
        app_->client().enqueue(Job, {.queue_name = "idle", .workflow_id = id});
    }
    std::string run(const std::string& id) {
        {
            std::lock_guard lock(mutex_);
            subjects_.insert(id);
        }
        return app_->start_workflow(Job, {.workflow_id = id})
            .get_result({.timeout = std::chrono::seconds(30)});
    }
    /// The same workflow from its first line, with the records that it left: as after a crash just before its end.
    std::string replay(const std::string& id) {
        const std::string where = " WHERE workflow_uuid = '" + id + "'";
        execute("DELETE FROM @workflow_output" + where);
        execute(
            "UPDATE @workflow_status SET status = 'ENQUEUED', queue_name = 'served', completed_at = NULL, "
            "owner_xid = NULL, started_at_epoch_ms = NULL" +
            where);
        return app_->retrieve_workflow(Job, id).get_result({.timeout = std::chrono::seconds(30)});
    }
    /// Empty: no such workflow.
    std::string status(const std::string& id) {
        return scalar("SELECT status FROM @workflow_status WHERE workflow_uuid = '" + id + "'");
    }
    std::string joined(const std::string& id, const std::function<std::string(const StepInfo&)>& show) {
        std::string text;
        for (const StepInfo& step : app_->client().list_workflow_steps(id)) {
            const std::string one = show(step);
            if (!one.empty()) text += (text.empty() ? "" : " ") + one;
        }
        return text;
    }
    /// `name=output` of each.
    std::string steps(const std::string& id) {
        return joined(id, [](const StepInfo& step) {
            return step.function_name + "=" +
                   (step.output  ? step.output->dump()
                    : step.error ? "error"
                                 : "-");
        });
    }
    std::string step_names(const std::string& id) {
        return joined(id, [](const StepInfo& step) { return step.function_name; });
    }
    /// The types of the recorded errors.
    std::string errors(const std::string& id) {
        return joined(id, [](const StepInfo& step) { return step.error ? step.error->type_name : ""; });
    }

   private:
    bool subject(const std::string& id) {
        std::lock_guard lock(mutex_);
        return subjects_.contains(id);
    }

    std::mutex mutex_;
    std::set<std::string> subjects_;
    std::unique_ptr<App> app_;
};

}  // namespace dbos::test
