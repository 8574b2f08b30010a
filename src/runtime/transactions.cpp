#include "runtime/transactions.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "runtime/executor.hpp"

namespace dbos::runtime {

void Transactions::add(std::shared_ptr<Datasource> datasource) {
    if (executor_.launched()) {
        const auto connection = datasource->pool().acquire();
        datasource->ensure_table(*connection);
    }
    const std::lock_guard lock(mutex_);
    if (std::ranges::find(registered_, datasource) == registered_.end())
        registered_.push_back(std::move(datasource));
}

void Transactions::launch() {
    std::vector<std::shared_ptr<Datasource>> registered;
    {
        const std::lock_guard lock(mutex_);
        registered = registered_;
    }
    for (const auto& datasource : registered) {
        if (datasource->owner() != nullptr) continue;  // needs no table
        const auto connection = datasource->pool().acquire();
        datasource->ensure_table(*connection);
    }
}

std::shared_ptr<Datasource> Transactions::system_datasource(bool sqlite) {
    constexpr std::size_t kConnections = 5;
    sql::OpenOptions open = executor_.system_options();
    if (sqlite != (open.url.backend == sql::Backend::sqlite)) {
        throw UsageError(std::string("system_datasource: the system database is ") + open.url.printable +
                         (sqlite ? ", so it is a PostgresDatasource (or PqxxDatasource)"
                                 : ", so it is a SqliteDatasource"));
    }
    const std::lock_guard lock(mutex_);
    if (!system_) {
        system_ = std::make_shared<Datasource>(std::move(open), kConnections, executor_);
        system_->bind(database_);
    }
    return system_;
}

void Transactions::bind(std::shared_ptr<sysdb::SystemDatabase> database) {
    const std::lock_guard lock(mutex_);
    database_ = std::move(database);
    if (system_) system_->bind(database_);
}

void Transactions::close() noexcept {
    const std::lock_guard lock(mutex_);
    database_.reset();
    if (!system_) return;
    system_->close();
    system_->bind(nullptr);
}

std::string Transactions::read_key(const std::string& workflow_id) {
    const sysdb::Text life = executor_.database().life_of(workflow_id);
    return life ? workflow_id + '#' + *life : std::string();
}

std::string Transactions::key_of(Run& run) {
    {
        const std::lock_guard lock(mutex_);
        if (const auto& key = used_[run.fence()].key; !key.empty()) return key;
    }
    std::string key = read_key(run.id());
    if (key.empty()) {  // deleted
        executor_.explain_loss(run);
        run.throw_if_interrupted();
    }
    const std::lock_guard lock(mutex_);
    return used_[run.fence()].key = std::move(key);
}

void Transactions::used(const Run& run, const std::shared_ptr<Datasource>& datasource) {
    if (datasource->owner() != nullptr) return;
    const std::lock_guard lock(mutex_);
    auto& datasources = used_[run.fence()].datasources;
    if (std::ranges::find(datasources, datasource) == datasources.end()) datasources.push_back(datasource);
}

void Transactions::forget(Run& run) noexcept {
    Used used;
    {
        const std::lock_guard lock(mutex_);
        const auto found = used_.find(run.fence());
        if (found == used_.end()) return;
        used = found->second;
    }
    if (used.datasources.empty()) return;
    try {
        const std::string key = used.key.empty() ? key_of(run) : used.key;
        for (const auto& datasource : used.datasources) {
            const auto connection = datasource->pool().acquire();
            sql::Transaction transaction(*connection);
            datasource->forget(*connection, key, 0);
            // Who has taken the workflow over still needs them.
            if (!executor_.database().still_owned({&run.fence(), 1}).front()) return;
            transaction.commit();
        }
    } catch (const std::exception& error) {
        log_to(executor_.log(), LogLevel::info,
               "rows of datasource_outputs that have no use any more could not be removed",
               {{"workflow_id", run.id()}, {"error", error.what()}});
    } catch (const Interrupt&) {  // taken over: somebody else removes them
    }
}

void Transactions::ended(const Run& run) noexcept {
    const std::lock_guard lock(mutex_);
    used_.erase(run.fence());
}

void Transactions::forget_from(const std::string& workflow_id, std::int64_t from) {
    std::vector<std::shared_ptr<Datasource>> registered;
    {
        const std::lock_guard lock(mutex_);
        registered = registered_;
    }
    if (registered.empty()) return;
    const std::string ids[] = {workflow_id};
    for (const auto& [id, status] : executor_.database().statuses(ids)) {
        if (status == "PENDING" || status == "ENQUEUED" || status == "DELAYED") return;  // refused later
    }
    const std::string key = read_key(workflow_id);
    if (key.empty()) return;
    for (const auto& datasource : registered) {
        if (datasource->owner() != nullptr) continue;
        const auto connection = datasource->pool().acquire();
        datasource->forget(*connection, key, from);
    }
}

}  // namespace dbos::runtime
