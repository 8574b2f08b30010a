#include "sysdb/announce.hpp"

#include <cstdio>
#include <set>

namespace dbos::sysdb {

namespace {

constexpr sql::Statement kNotify{"notify_wake", "SELECT pg_notify('dbos_cpp_wake', $1::text)"};
constexpr std::size_t kMostHashes = 800;

void append_hashes(std::string& payload, const char* kind, std::span<const std::string> names) {
    if (names.empty()) return;
    payload += kind;
    std::set<std::uint32_t> hashes;
    for (const std::string& name : names) hashes.insert(wake_hash(name));
    if (hashes.size() > kMostHashes) {
        payload += '*';
        return;
    }
    bool first = true;
    for (const std::uint32_t hash : hashes) {
        char text[16];
        std::snprintf(text, sizeof text, first ? "%08x" : ",%08x", hash);
        payload += text;
        first = false;
    }
}

}  // namespace

std::string wake_payload(const std::string& schema, const Announcement& what) {
    std::string payload = schema;
    append_hashes(payload, " q:", what.queues);
    append_hashes(payload, " w:", what.ended);
    return payload;
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
    if (core.options.notify && core.wake_file && !(what.queues.empty() && what.ended.empty()))
        core.wake_file->signal();
}

}  // namespace dbos::sysdb
