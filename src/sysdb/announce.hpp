// Telling others what a maintenance write has changed. (The committer does the same for its batches, in their transaction.)
#pragma once

#include <span>
#include <string>

#include "sysdb/database.hpp"

namespace dbos::sysdb {

/// What a write made others wait no longer for.
struct Announcement {
    std::span<const std::string> queues = {};  // have new work, or a free slot
    std::span<const std::string> ended = {};   // workflows that ended
};

/// The payload of one notification: `<schema> q:<hashes> w:<hashes>`; more than 800 hashes of a kind = `*` (safety 17).
std::string wake_payload(const std::string& schema, const Announcement& what);

/// Adds the notification to the open transaction (PostgreSQL; else nothing).
void notify_in_transaction(SystemDatabase::Core& core, sql::Connection& connection, const Announcement& what);

/// After the commit: tells this process, and on SQLite the others.
void tell_after_commit(SystemDatabase::Core& core, const Announcement& what);

}  // namespace dbos::sysdb
