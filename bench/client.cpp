// What waits of a client cost: memory and statements, counted on its own connections.
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <thread>

#include "bench.hpp"
#include "client/core.hpp"
#include "sql/connection.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;
using Counter = std::shared_ptr<std::atomic<std::uint64_t>>;

class CountingConnection final : public dbos::sql::Connection {
   public:
    CountingConnection(std::unique_ptr<dbos::sql::Connection> inner, Counter counter)
        : inner_(std::move(inner)), counter_(std::move(counter)) {}
    dbos::sql::Backend backend() const noexcept override { return inner_->backend(); }
    dbos::sql::Result execute(const dbos::sql::Statement& statement,
                              const dbos::sql::Params& params) override {
        ++*counter_;
        return inner_->execute(statement, params);
    }
    dbos::sql::Result query(const std::string& text, const dbos::sql::Params& params,
                            dbos::sql::Access access) override {
        ++*counter_;
        return inner_->query(text, params, access);
    }
    void script(const std::string& text) override {
        ++*counter_;
        inner_->script(text);
    }
    using Connection::pipeline;
    std::vector<dbos::sql::Result> pipeline(std::span<const dbos::sql::Call> calls,
                                            const Meanwhile& meanwhile) override {
        *counter_ += calls.size();
        return inner_->pipeline(calls, meanwhile);
    }
    void begin(dbos::sql::Isolation isolation) override {
        ++*counter_;
        inner_->begin(isolation);
    }
    void commit() override {
        ++*counter_;
        inner_->commit();
    }
    void rollback() noexcept override { inner_->rollback(); }
    bool in_transaction() const noexcept override { return inner_->in_transaction(); }
    bool usable() const noexcept override { return inner_->usable(); }
    std::optional<std::uint32_t> file_commits() noexcept override { return inner_->file_commits(); }
    void interrupt() noexcept override { inner_->interrupt(); }

   private:
    std::unique_ptr<dbos::sql::Connection> inner_;
    Counter counter_;
};

std::unique_ptr<dbos::Client> counting_client(const std::string& url, const Counter& counter) {
    dbos::sysdb::DatabaseOptions with;
    with.open.url = dbos::sql::Url::parse(url);
    with.open.create_file = false;
    with.open.decorate = with.decorate =
        [counter](std::unique_ptr<dbos::sql::Connection> inner) -> std::unique_ptr<dbos::sql::Connection> {
        return std::make_unique<CountingConnection>(std::move(inner), counter);
    };
    dbos::client::CoreOptions core;
    core.database_key = "bench";
    core.application_name = "bench";
    core.log = dbos::stderr_log_sink(dbos::LogLevel::error);
    return dbos::client::make_client(std::make_shared<dbos::client::Core>(
        std::make_shared<dbos::sysdb::SystemDatabase>(std::move(with)), std::move(core)));
}

double resident_mib() {
    malloc_trim(0);
    std::ifstream file("/proc/self/statm");
    std::uint64_t size = 0, resident = 0;
    file >> size >> resident;
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace

Waits waiting_futures(const std::string& url, int futures, int seconds) {
    const auto counter = std::make_shared<std::atomic<std::uint64_t>>(0);
    const Busy busy(url);  // an application, idle for now; it also creates the tables
    const auto client = counting_client(url, counter);
    std::vector<std::string> ids;
    std::vector<dbos::WorkflowHandle<dbos::Value>> handles;
    for (int begin = 0; begin < futures; begin += 1000) {
        std::vector<dbos::EnqueueRequest> requests;
        for (int i = begin; i < std::min(begin + 1000, futures); ++i) {
            ids.push_back("waiting-" + std::to_string(i));
            requests.push_back(dbos::enqueue_request(
                {.workflow_name = "nobody", .queue_name = "served by nobody", .workflow_id = ids.back()}));
        }
        for (auto& handle : client->enqueue_bulk(std::move(requests))) handles.push_back(std::move(handle));
    }
    Waits result;
    const double before = resident_mib();
    std::vector<dbos::Future<dbos::Value>> waits;
    waits.reserve(ids.size());
    for (const auto& handle : handles) waits.push_back(handle.get_result_async());
    std::this_thread::sleep_for(3s);
    result.mib = resident_mib() - before;
    const auto rate = [&](auto meanwhile) {
        const std::uint64_t from = counter->load();
        const auto begun = std::chrono::steady_clock::now();
        meanwhile();
        return static_cast<double>(counter->load() - from) /
               std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    };
    result.idle_statements = rate([&] { std::this_thread::sleep_for(std::chrono::seconds(seconds)); });
    result.busy_statements = rate([&] { result.others = busy.flood(seconds); });
    const auto begun = std::chrono::steady_clock::now();
    for (std::size_t n = 0; n < ids.size(); n += 1000)
        client->cancel_workflows({ids.begin() + static_cast<std::ptrdiff_t>(n),
                                  ids.begin() + static_cast<std::ptrdiff_t>(std::min(n + 1000, ids.size()))});
    for (auto& wait : waits) {
        if (!wait.wait_for(60s)) throw std::runtime_error("a wait has not ended");
        try {
            wait.get();
        } catch (const dbos::AwaitedWorkflowCancelled&) {
        }
    }
    result.all_told_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    return result;
}

}  // namespace bench
