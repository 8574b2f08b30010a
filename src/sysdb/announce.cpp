#include "sysdb/announce.hpp"

#include <vector>

namespace dbos::sysdb {

namespace {

constexpr sql::Statement kNotify{"notify_wake", "SELECT pg_notify('dbos_cpp_wake', $1::text)"};

}  // namespace

std::string wake_payload(const std::string& schema, const Announcement& what) {
    std::vector<std::uint32_t> queues, workflows;
    for (const std::string& queue : what.queues) queues.push_back(wake_hash(queue));
    for (const std::string& id : what.ended) workflows.push_back(wake_hash(id));
    return wake_payload(schema, queues, workflows);
}

void notify_in_transaction(SystemDatabase::Core& core, sql::Connection& connection,
                           const Announcement& what) {
    if (!core.options.notify || core.backend != sql::Backend::postgres) return;
    if (what.queues.empty() && what.ended.empty()) return;
    const std::string payload = wake_payload(core.options.open.schema, what);
    connection.execute(kNotify, {std::string_view(payload)});
}

void tell_after_commit(SystemDatabase::Core& core, const Announcement& what) {
    if (core.options.local_wake.enqueued) {
        for (const std::string& queue : what.queues) core.options.local_wake.enqueued(queue);
    }
    if (core.options.local_wake.ended) {
        for (const std::string& id : what.ended) core.options.local_wake.ended(id);
    }
    if (!core.options.notify || (what.queues.empty() && what.ended.empty())) return;
    if (seam::WakeFile* file = core.wake_file()) file->signal();
}

}  // namespace dbos::sysdb
