#include "sysdb/blockers.hpp"

namespace dbos::sysdb {
namespace {

constexpr sql::Statement kBackendPid{"blockers_backend_pid", "SELECT pg_backend_pid()", sql::Access::read};
constexpr sql::Statement kBlockingPids{
    "blockers_pids", "SELECT array_to_string(pg_blocking_pids($1::bigint::int), ', ')", sql::Access::read};

}  // namespace

Blockers::Blockers(SystemDatabase::Core& core, sql::Connection& connection) {
    try {
        const std::int64_t pid = connection.execute(kBackendPid).at(0, 0).integer();
        asking_ = seam::spawn("dbos-blockers", [this, &core, pid] {
            try {
                const auto other = core.pool.open_dedicated(false);
                while (!done_.load()) {
                    const sql::Result found = other->execute(kBlockingPids, {pid});
                    if (!found.empty() && !found.at(0, 0).text().empty()) {
                        pids_ = found.at(0, 0).string();
                        return;
                    }
                    seam::sleep_for(std::chrono::milliseconds(10));
                }
            } catch (const std::exception&) {  // then the error names nobody
            }
        });
    } catch (const std::exception&) {
    }
}

Blockers::~Blockers() { stop(); }

void Blockers::stop() noexcept {
    done_.store(true);
    if (asking_.joinable()) asking_.join();
}

std::string Blockers::finish() {
    stop();
    return pids_.empty() ? "(unknown)" : pids_;
}

}  // namespace dbos::sysdb
