#include "chaos/pg/misbehave.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>

#include "chaos/pg/workload.hpp"
#include "sql/connection.hpp"

namespace dbos::chaos {

namespace {

using namespace std::chrono_literals;

constexpr Proof kProofs[] = {
    {"delete-row", "lost"},         // the row of a workflow that has ended goes
    {"delete-record", "lost"},      // the record of a step goes
    {"body-twice", "repeated"},     // the body of a step begins again after its record was committed
    {"foreign-owner", "stranded"},  // a row stays PENDING under an executor that renews for ever
    {"wide-narrow", "limits"},      // the queue of three at once in a process has room for fifty
    {"wide-shared", "limits"},      // the queue of four at once has room for fifty
    {"wide-rated", "limits"},       // the queue of six starts a second starts fifty
    {"wide-keyed", "limits"},       // the queue of one at once of each key has room for fifty
    {"rob", "robbed"},              // rows of executors that live are handed back
    {"other-outcome", "changed"},   // the outcome of a workflow changes after its end
    {"deaf", "deaf"},               // bodies go on for seconds after their workflow was cancelled
    {"exit", "exits"},              // the process ends by itself
};

constexpr auto kBegin = 500ms, kPause = 200ms;

/// What is done again and again; $1 is our executor.
const char* statement_of(std::string_view how) {
    if (how == "delete-row")
        return "DELETE FROM @workflow_status WHERE $1::text IS NOT NULL AND workflow_uuid = (SELECT "
               "workflow_uuid"
               " FROM @workflow_status WHERE status = 'SUCCESS' AND workflow_uuid LIKE 'w%' AND"
               " updated_at < extract(epoch FROM now()) * 1000 - 500 LIMIT 1)";
    if (how == "delete-record")
        return "DELETE FROM @operation_outputs WHERE $1::text IS NOT NULL AND function_id = 1 AND "
               "workflow_uuid ="
               " (SELECT workflow_uuid FROM @workflow_status WHERE status = 'SUCCESS' AND name = 'chain' "
               "LIMIT 1)";
    if (how == "foreign-owner")
        return "WITH l AS (INSERT INTO @dbos_cpp_executors (application_name, executor_id, incarnation, "
               "version,"
               " counter, expires_at, lease_ms) VALUES ('chaos', 'nobody', 'none', 'chaos-1', 1,"
               " extract(epoch FROM now())::bigint * 1000 + 3000, 2000) ON CONFLICT (application_name, "
               "executor_id)"
               " DO UPDATE SET counter = @dbos_cpp_executors.counter + 1, expires_at = excluded.expires_at) "
               "UPDATE @workflow_status SET status = 'PENDING', executor_id = 'nobody', owner_xid = 'none'"
               " WHERE $1::text IS NOT NULL AND workflow_uuid = (SELECT workflow_uuid FROM @workflow_status "
               "WHERE"
               " status = 'ENQUEUED' LIMIT 1)";
    if (how == "rob")
        return "UPDATE @workflow_status SET status = 'ENQUEUED', owner_xid = NULL, started_at_epoch_ms = "
               "NULL,"
               " queue_name = coalesce(queue_name, '_dbos_internal_queue') WHERE workflow_uuid = (SELECT "
               "workflow_uuid"
               " FROM @workflow_status WHERE status = 'PENDING' AND executor_id <> $1::text LIMIT 1)";
    if (how == "other-outcome")
        return "UPDATE @workflow_output SET output = '\"another one\"' WHERE $1::text IS NOT NULL AND "
               "workflow_uuid ="
               " (SELECT workflow_uuid FROM @workflow_status WHERE status = 'SUCCESS' ORDER BY random() "
               "LIMIT 1)";
    return nullptr;
}

}  // namespace

std::span<const Proof> proofs() { return kProofs; }

Misbehaviour::Misbehaviour(std::string how) : how_(std::move(how)) {
    const bool known = std::ranges::any_of(kProofs, [&](const Proof& one) { return one.how == how_; });
    if (!how_.empty() && !known) throw std::invalid_argument("there is no way \"" + how_ + "\" to misbehave");
}

Misbehaviour::~Misbehaviour() = default;

void Misbehaviour::start(const std::string& url, const std::string& schema, const std::string& executor_id) {
    if (how_ != "exit" && statement_of(how_) == nullptr) return;
    thread_ = std::jthread([=, this](std::stop_token stop) { run(stop, url, schema, executor_id); });
}

void Misbehaviour::run(std::stop_token stop, const std::string& url, const std::string& schema,
                       const std::string& executor_id) const {
    std::this_thread::sleep_for(kBegin);
    if (how_ == "exit") ::_exit(7);
    sql::OpenOptions options;
    options.url = sql::Url::parse(url);
    options.schema = schema;
    const auto connection = sql::open(options);
    while (!stop.stop_requested()) {
        std::this_thread::sleep_for(kPause);
        try {
            connection->query(statement_of(how_), {std::string_view(executor_id)}, sql::Access::write);
        } catch (const DatabaseError&) {  // a deadlock, at the worst
        }
    }
}

}  // namespace dbos::chaos
