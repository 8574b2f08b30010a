// Starts and messages in a transaction that somebody else begins and ends: bulk calls, and callers with their own.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sysdb/database.hpp"
#include "sysdb/records.hpp"

namespace dbos::sysdb {

/// Inserts the rows in the open transaction of `connection`, and says of each what became of it: of an id or a
/// deduplication id that stands twice, the first is created. Rows of one partition get instants in their order.
/// `savepoints`: the transaction may have some, so that a row is not told by its transaction.
std::vector<StartResult> start_in(SystemDatabase::Core& core, sql::Connection& connection,
                                  const Layout& layout, std::span<const NewWorkflow> rows, bool savepoints);

/// The queues that got rows to run at once.
std::vector<std::string> queues_of(std::span<const NewWorkflow> rows, std::span<const StartResult> results);

/// Throws NonexistentWorkflow before anything is written if a destination does not exist for this transaction.
void send_in(sql::Connection& connection, std::span<const NewMessage> messages, bool to_forks);

/// What became of a checkpoint in the open transaction of `connection`.
enum class CheckpointIn : std::uint8_t {
    inserted,
    lost,    // the fence: the run no longer owns the workflow
    exists,  // there is a record of this number: roll back, then read_checkpoint()
};
/// Locks the status row, compares the fence, inserts the record (safety 36, 38). After what it is the record of.
CheckpointIn checkpoint_in(sql::Connection& connection, const Fence& fence, const StepRecord& step);
/// The record of `step`'s number as it stands now: `recorded` (by an attempt of ours, whose acknowledgement was lost), `other`,
/// `lost`, or `nothing`.
StepResult read_checkpoint(sql::Connection& connection, const Fence& fence, const StepRecord& step);

}  // namespace dbos::sysdb
