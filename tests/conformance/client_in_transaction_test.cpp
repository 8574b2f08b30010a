// enqueue and send in the caller's own transaction, on a raw PGconn or sqlite3 handle.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sqlite3.h>

#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using testing::HasSubstr;

/// A connection that knows nothing of the library.
class Raw {
   public:
    explicit Raw(dbos::test::DatabaseTest& test) {
        const auto& options = test.options();
        if (test.postgres()) {
            postgres_ = PQconnectdb(options.url.conninfo.c_str());
        } else {
            sqlite3_open_v2(options.url.path.c_str(), &sqlite_, SQLITE_OPEN_READWRITE, nullptr);
            sqlite3_busy_timeout(sqlite_, 5000);
        }
    }
    ~Raw() {
        if (postgres_) PQfinish(postgres_);
        if (sqlite_) sqlite3_close(sqlite_);
    }
    Raw(const Raw&) = delete;
    Raw& operator=(const Raw&) = delete;
    void run(const std::string& sql) {
        if (postgres_) {
            PQclear(PQexec(postgres_, sql.c_str()));
        } else {
            sqlite3_exec(sqlite_, sql.c_str(), nullptr, nullptr, nullptr);
        }
    }
    dbos::CallerTransaction transaction(bool notify = false) const {
        return postgres_ ? dbos::CallerTransaction(postgres_, notify) : dbos::CallerTransaction(sqlite_);
    }
    PGconn* postgres() const { return postgres_; }

   private:
    PGconn* postgres_ = nullptr;
    sqlite3* sqlite_ = nullptr;
};

inline constexpr auto Pay = dbos::workflow<int(int)>("pay");

class InTransaction : public dbos::test::ClientTest {
   public:
    std::string count(const std::string& table = "workflow_status", const std::string& where = "1 = 1") {
        return query_text("SELECT count(*) FROM @" + table + " WHERE " + where);
    }
    template <class F>
    std::string refusal(F call) {
        try {
            call();
        } catch (const dbos::UsageError& error) {
            return error.what();
        }
        return "not refused";
    }
};
DBOS_FOR_EVERY_DATABASE(InTransaction);

TEST_P(InTransaction, the_callers_commit_decides) {
    Raw raw(*this);
    raw.run("BEGIN");
    const auto handle =
        client().enqueue_in_transaction(raw.transaction(), Pay, {.queue_name = "q", .workflow_id = "w"}, 7);
    client().send_in_transaction(raw.transaction(), "w", "hello", "t", {.idempotency_key = "k"});
    client().send_in_transaction(raw.transaction(), "w", "again", "t", {.idempotency_key = "k"});
    EXPECT_EQ(count(), "0");
    EXPECT_EQ(count("notifications"), "0");
    raw.run("COMMIT");
    EXPECT_EQ(handle.get_status().status, "ENQUEUED");
    EXPECT_EQ(handle.get_status().input->positional.at(0).as_int(), 7);
    EXPECT_EQ(query_text("SELECT message FROM @notifications"), "\"hello\"");

    raw.run("BEGIN");
    client().enqueue_in_transaction(raw.transaction(true), {.workflow_name = "x", .queue_name = "q"}, 1);
    client().send_bulk_in_transaction(
        raw.transaction(), {{.destination_id = "w", .message = 1}, {.destination_id = "w", .message = 2}});
    raw.run("ROLLBACK");
    EXPECT_EQ(count(), "1");
    EXPECT_EQ(count("workflow_input"), "1");
    EXPECT_EQ(count("notifications"), "1");
    raw.run("BEGIN");
    client().enqueue_in_transaction(raw.transaction(true), {.workflow_name = "x", .queue_name = "q"}, 1);
    raw.run("COMMIT");
    client().wake("q");
    client().wake_async("q").get();
    EXPECT_EQ(count(), "2");
}

TEST_P(InTransaction, a_savepoint_undoes_row_and_payload) {
    Raw raw(*this);
    raw.run("BEGIN");
    raw.run("SAVEPOINT one");
    client().enqueue_in_transaction(raw.transaction(), Pay, {.queue_name = "q", .workflow_id = "kept"}, 1);
    raw.run("RELEASE SAVEPOINT one");
    raw.run("SAVEPOINT two");
    client().enqueue_in_transaction(raw.transaction(), Pay, {.queue_name = "q", .workflow_id = "undone"}, 2);
    raw.run("ROLLBACK TO SAVEPOINT two");
    raw.run("COMMIT");
    EXPECT_EQ(count(), "1");
    EXPECT_EQ(query_text("SELECT inputs FROM @workflow_input"), R"({"positionalArgs":[1],"namedArgs":{}})");
}

TEST_P(InTransaction, refusals_leave_the_transaction_usable) {
    client().enqueue(Pay, {.queue_name = "q", .workflow_id = "holder", .deduplication_id = "d"}, 1);
    Raw raw(*this);
    raw.run("BEGIN");
    const auto in = raw.transaction();
    EXPECT_THROW(client().enqueue_in_transaction(in, Pay, {.queue_name = "q", .deduplication_id = "d"}, 1),
                 dbos::QueueDeduplicated);
    EXPECT_EQ(client()
                  .enqueue_in_transaction(in, Pay,
                                          {.queue_name = "q",
                                           .deduplication_id = "d",
                                           .duplication_policy = dbos::DuplicationPolicy::return_existing},
                                          1)
                  .workflow_id(),
              "holder");
    EXPECT_THROW(client().enqueue_in_transaction(
                     in, {.workflow_name = "other", .queue_name = "q", .workflow_id = "holder"}),
                 dbos::ConflictingWorkflow);
    EXPECT_THROW(client().send_in_transaction(in, "nobody", 1), dbos::NonexistentWorkflow);
    EXPECT_THROW(client().send_bulk_in_transaction(in, {{.destination_id = "holder", .message = 1},
                                                        {.destination_id = "nobody", .message = 1}}),
                 dbos::NonexistentWorkflow);
    // An id that exists keeps its arguments.
    client().enqueue_in_transaction(in, Pay, {.queue_name = "q", .workflow_id = "holder"}, 99);
    client().enqueue_in_transaction(in, Pay, {.queue_name = "q", .workflow_id = "fine"}, 1);
    raw.run("COMMIT");
    EXPECT_EQ(count(), "2");
    EXPECT_EQ(count("notifications"), "0");
    EXPECT_EQ(query_text("SELECT inputs FROM @workflow_input WHERE workflow_uuid = 'holder'"),
              R"({"positionalArgs":[1],"namedArgs":{}})");
}

TEST_P(InTransaction, connections_that_cannot_be_used_are_refused_with_the_cure) {
    Raw raw(*this);
    const auto call = [&] {
        client().enqueue_in_transaction(raw.transaction(), Pay, {.queue_name = "q"}, 1);
    };
    EXPECT_THAT(refusal(call), HasSubstr("BEGIN"));
    if (postgres()) {
        raw.run("BEGIN");
        raw.run("SELECT 1/0");
        EXPECT_THAT(refusal(call), HasSubstr("roll it back"));
        raw.run("ROLLBACK");
        raw.run("SET client_encoding TO 'LATIN1'");
        raw.run("BEGIN");
        EXPECT_THAT(refusal(call), HasSubstr("client_encoding"));
        raw.run("ROLLBACK");
        raw.run("SET client_encoding TO 'UTF8'");
        PQenterPipelineMode(raw.postgres());
        EXPECT_THAT(refusal(call), HasSubstr("pipeline"));
        PQexitPipelineMode(raw.postgres());
        EXPECT_THAT(refusal([&] {
                        client().enqueue_in_transaction(static_cast<sqlite3*>(nullptr), Pay,
                                                        {.queue_name = "q"}, 1);
                    }),
                    HasSubstr("PostgreSQL"));
        EXPECT_THAT(refusal([&] { client().send_in_transaction(static_cast<PGconn*>(nullptr), "w", 1); }),
                    HasSubstr("null pointer"));
    } else {
        sqlite3* memory = nullptr;
        sqlite3_open(":memory:", &memory);
        sqlite3_exec(memory, "BEGIN", nullptr, nullptr, nullptr);
        EXPECT_THAT(refusal([&] { client().enqueue_in_transaction(memory, Pay, {.queue_name = "q"}, 1); }),
                    HasSubstr("no system tables"));
        sqlite3_close(memory);
        EXPECT_THAT(refusal([&] { client().send_in_transaction(static_cast<PGconn*>(nullptr), "w", 1); }),
                    HasSubstr("SQLite"));
    }
    EXPECT_EQ(count(), "0");
}

TEST_P(InTransaction, a_busy_file_is_the_callers_to_handle) {
    if (postgres()) GTEST_SKIP() << "there are no such locks";
    client();
    Raw blocker(*this), raw(*this);
    blocker.run("BEGIN IMMEDIATE");
    raw.run("PRAGMA busy_timeout = 0");
    raw.run("BEGIN");
    try {
        client().enqueue_in_transaction(raw.transaction(), Pay, {.queue_name = "q"}, 1);
        ADD_FAILURE();
    } catch (const dbos::DatabaseError& error) {
        EXPECT_EQ(error.kind(), dbos::DatabaseErrorKind::busy);
        EXPECT_THAT(error.what(), HasSubstr("still stands"));
    }
    blocker.run("ROLLBACK");
    client().enqueue_in_transaction(raw.transaction(), Pay, {.queue_name = "q"}, 1);
    raw.run("COMMIT");
    EXPECT_EQ(count(), "1");
}

}  // namespace
