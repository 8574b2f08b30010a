// How an executor reaches its system database at launch.
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "core/durations.hpp"
#include "core/log.hpp"
#include "runtime/executor.hpp"
#include "sql/source.hpp"

namespace dbos::runtime {

namespace {

constexpr auto kLongestPause = std::chrono::seconds(1);

/// Whether the same call may succeed a moment later. What is most often a mistake in the URL is told at once.
bool passes(const DatabaseError& error) {
    if (!error.transient() || error.sqlstate() == "08P01") return false;  // poolers: no such database
    // libpq has no code for it. Where it speaks another language it is told a little later.
    return std::string_view(error.what()).find("could not translate host name") == std::string_view::npos;
}

}  // namespace

void Executor::reaching(const std::function<void()>& what) {
    std::optional<seam::SteadyTime> end;  // from the first failure on: a migration may take long
    for (int attempt = 0;; ++attempt) {
        try {
            return what();
        } catch (const DatabaseError& error) {
            const bool lost = error.kind() == DatabaseErrorKind::connection;
            if (!passes(error) || (lost && !options_.retry_connection_errors)) throw;
            const seam::Duration pause = sql::retry_delay(attempt, kLongestPause);
            if (!end) end = seam::steady_now() + instruments_.launch_patience;
            if (seam::steady_now() + pause >= *end) throw;
            log_to(log(), LogLevel::warn, "launch: the database cannot be reached; it is tried again",
                   {{"error", error.what()}, {"attempt", std::to_string(attempt)}});
            std::unique_lock lock(mutex_);
            if (changed_.wait_for(lock, pause, [this] { return ending_; })) throw;
        }
    }
}

sql::OpenOptions Executor::system_options() const {
    sql::OpenOptions open;
    open.source = options_.system_database_engine;
    open.url = open.source ? sql::url_of(*open.source) : sql::Url::parse(options_.system_database_url);
    open.schema = options_.dbos_system_schema;
    open.application_name = "dbos_cpp_" + executor_id_;
    return open;
}

void Executor::open_database() {
    sysdb::DatabaseOptions database;
    reaching([&] { database.open = system_options(); });
    const std::string key = database.open.url.printable + " " + database.open.schema;
    database.open.idle_transaction_timeout =
        core::to_nanos(options_.system_database_idle_transaction_timeout);
    database.pool_size = static_cast<std::size_t>(options_.system_database_pool_size);
    database.retry_connection_errors = options_.retry_connection_errors;
    database.log = log();
    database.local_wake.enqueued = [this](const std::string& queue) { claimer_.has_work(queue); };
    database.local_wake.ended = [this](const std::string& id) {
        // What this process runs is delivered with its result, in finish().
        client::Core* core = local_core_.load();
        if (core && !runs_here(id)) core->hub().notify_ended(id);
    };
    database.local_wake.published = [this](const std::string& id, const sysdb::Effect& effect) {
        published(id, effect);
    };
    database.local_wake.written = [this] {
        claimer_.look_again();
        if (ThreadPool* pool = looking_pool_.load()) pool->look_again();
    };
    database.local_wake.schedules_changed = [this] { schedules_changed(); };
    database.rewinding = [this](const std::string& id, std::int64_t start_step) {
        transactions_.forget_from(id, start_step);
    };
    if (instruments_.database) instruments_.database(database);
    database_ = std::make_shared<sysdb::SystemDatabase>(std::move(database));
    reaching([this] {
        if (options_.run_migrations) {
            database_->open({.log = log()});
        } else {
            database_->open();
        }
    });
    sysdb::require_app_floor(database_->layout());
    transactions_.bind(database_);
    client::CoreOptions core{.database_key = key,
                             .application_name = options_.name,
                             .serializer = options_.serializer,
                             .log = log(),
                             .executor = options_.executor,
                             .wakeups = options_.use_listen_notify.value_or(true),
                             .retry_connection_errors = options_.retry_connection_errors,
                             .runs_here = [this](const std::string& id) { return runs_here(id); },
                             .query_timeout = options_.observability_query_timeout};
    if (instruments_.core) instruments_.core(core);
    core_ = std::make_shared<client::Core>(database_, std::move(core));
    mailboxes_ = std::make_unique<Mailboxes>(*database_, log());
    local_core_.store(core_.get());
    client_ = client::make_client(core_);
}

}  // namespace dbos::runtime
