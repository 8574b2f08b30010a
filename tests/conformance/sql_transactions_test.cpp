// Transactions, pipelines and errors through both drivers.
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

#include "support/database.hpp"

namespace dbos::sql {
namespace {

constexpr Statement kInsert{"insert_row", "INSERT INTO @parent(id, name) VALUES ($1, $2)"};
constexpr Statement kInsertChild{"insert_child", "INSERT INTO @child(id, parent) VALUES ($1, $2)"};
constexpr Statement kReturning{"insert_returning",
                               "INSERT INTO @parent(id, name) VALUES ($1, $2) RETURNING id + 100"};
constexpr Statement kCount{"count_rows", "SELECT count(*) FROM @parent", Access::read};
constexpr Statement kAbsent{"absent_table", "SELECT 1 FROM @absent", Access::read};

class SqlTransactions : public test::DatabaseTest {
   public:
    void SetUp() override {
        DatabaseTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        connection = open();
        connection->script(
            "CREATE TABLE @parent(id BIGINT PRIMARY KEY, name TEXT, CONSTRAINT parent_name UNIQUE (name));"
            "CREATE TABLE @child(id BIGINT PRIMARY KEY, parent BIGINT CONSTRAINT child_parent REFERENCES "
            "@parent(id));");
    }
    void TearDown() override {
        connection.reset();
        DatabaseTest::TearDown();
    }
    std::int64_t count() { return connection->execute(kCount).at(0, 0).integer(); }
    Params row(std::int64_t id) {
        names.push_back("name-" + std::to_string(id));
        return {id, std::string_view(names.back())};
    }
    template <class Act>
    DatabaseError failure(Act act) {
        try {
            act();
        } catch (const DatabaseError& error) {
            return error;
        }
        ADD_FAILURE() << "nothing was thrown";
        return DatabaseError(DatabaseErrorKind::other, "none");
    }

    std::unique_ptr<Connection> connection;
    std::deque<std::string> names;
};
DBOS_FOR_EVERY_DATABASE(SqlTransactions);

TEST_P(SqlTransactions, commit_rollback_and_unwinding) {
    {
        Transaction transaction(*connection);
        EXPECT_TRUE(connection->in_transaction());
        connection->execute(kInsert, row(1));
        transaction.commit();
    }
    EXPECT_FALSE(connection->in_transaction());
    {
        Transaction transaction(*connection, Isolation::serializable);
        connection->execute(kInsert, row(2));
        transaction.rollback();
    }
    {
        Transaction transaction(*connection, Isolation::repeatable_read);
        connection->execute(kInsert, row(3));
    }
    {
        Transaction empty(*connection);
        empty.commit();
    }
    EXPECT_EQ(count(), 1);
    EXPECT_FALSE(connection->in_transaction());
}

TEST_P(SqlTransactions, others_see_a_transaction_when_it_is_committed) {
    const auto other = open();
    Transaction transaction(*connection);
    connection->execute(kInsert, row(1));
    EXPECT_EQ(other->execute(kCount).at(0, 0).integer(), 0);
    transaction.commit();
    EXPECT_EQ(other->execute(kCount).at(0, 0).integer(), 1);
}

TEST_P(SqlTransactions, a_read_only_transaction_has_one_snapshot) {
    const auto other = open();
    Transaction transaction(*connection, Isolation::read_only);
    EXPECT_EQ(count(), 0);
    other->execute(kInsert, row(1));
    EXPECT_EQ(count(), 0);
    transaction.commit();
    EXPECT_EQ(count(), 1);
}

TEST_P(SqlTransactions, begin_twice_is_a_usage_error) {
    Transaction transaction(*connection);
    EXPECT_THROW(connection->begin(), UsageError);
}

TEST_P(SqlTransactions, pipeline_results_stand_in_order) {
    std::vector<Call> calls;
    for (std::int64_t id = 1; id <= 300; ++id)
        calls.push_back({id % 2 != 0 ? &kReturning : &kInsert, row(id)});
    calls.push_back({&kCount, {}});
    const auto results = connection->pipeline(calls);
    ASSERT_EQ(results.size(), 301U);
    EXPECT_EQ(results[0].at(0, 0).integer(), 101);
    EXPECT_EQ(results[1].affected(), 1);
    EXPECT_EQ(results[298].at(0, 0).integer(), 399);
    EXPECT_EQ(results[300].at(0, 0).integer(), 300);
    EXPECT_TRUE(connection->pipeline({}).empty());
}

TEST_P(SqlTransactions, a_pipeline_larger_than_all_buffers) {
    const std::string big(1 << 20, 'b');
    constexpr Statement kEcho{"echo", "SELECT CAST($1 AS TEXT)", Access::read};
    std::vector<Call> calls(40, Call{&kEcho, {std::string_view(big)}});
    const auto results = connection->pipeline(calls);
    for (const auto& result : results) EXPECT_TRUE(result.at(0, 0).text() == big);
}

TEST_P(SqlTransactions, a_failing_pipeline_leaves_nothing_and_reports_the_culprit) {
    std::vector<Call> calls{{&kInsert, row(1)}, {&kInsert, row(2)}, {&kInsert, row(2)}, {&kInsert, row(3)}};
    const DatabaseError error = failure([&] { connection->pipeline(calls); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::unique_violation);
    EXPECT_NE(std::string(error.what()).find("insert_row"), std::string::npos) << error.what();
    EXPECT_FALSE(error.outcome_unknown());
    EXPECT_FALSE(connection->in_transaction());
    EXPECT_TRUE(connection->usable());
    EXPECT_EQ(count(), 0);
    connection->execute(kInsert, row(2));
    EXPECT_EQ(count(), 1);
}

TEST_P(SqlTransactions, a_pipeline_joins_the_open_transaction) {
    Transaction transaction(*connection);
    connection->execute(kInsert, row(1));
    const std::vector<Call> calls{{&kInsert, row(2)}, {&kInsert, row(3)}};
    connection->pipeline(calls);
    EXPECT_TRUE(connection->in_transaction());
    transaction.rollback();
    EXPECT_EQ(count(), 0);
}

TEST_P(SqlTransactions, a_failed_transaction_can_only_be_rolled_back) {
    {
        Transaction transaction(*connection);
        connection->execute(kInsert, row(1));
        EXPECT_THROW(connection->execute(kInsert, row(1)), DatabaseError);
        EXPECT_THROW(connection->execute(kCount), DatabaseError);
        EXPECT_THROW(transaction.commit(), DatabaseError);
    }
    EXPECT_FALSE(connection->in_transaction());
    EXPECT_EQ(count(), 0);
}

TEST_P(SqlTransactions, kinds_of_violations) {
    connection->execute(kInsert, row(1));
    DatabaseError error =
        failure([&] { connection->execute(kInsert, {std::int64_t{1}, std::string_view("other")}); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::unique_violation);
    EXPECT_EQ(error.sqlstate(), postgres() ? "23505" : "sqlite:1555");
    EXPECT_EQ(error.constraint(), postgres() ? "parent_pkey" : "parent.id");

    error = failure([&] { connection->execute(kInsert, {std::int64_t{2}, std::string_view("name-1")}); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::unique_violation);
    EXPECT_EQ(error.constraint(), postgres() ? "parent_name" : "parent.name");

    error = failure([&] { connection->execute(kInsertChild, {std::int64_t{1}, std::int64_t{99}}); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::foreign_key);
    EXPECT_EQ(error.constraint(), postgres() ? "child_parent" : "");

    error = failure([&] { connection->execute(kAbsent); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::undefined_object);
    error = failure([&] { connection->query("SELECT absent FROM @parent"); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::undefined_object);
    error = failure([&] { connection->query("SELEC 1"); });
    EXPECT_EQ(error.kind(), DatabaseErrorKind::other);
    EXPECT_FALSE(error.transient());
    EXPECT_TRUE(connection->usable());
}

TEST_P(SqlTransactions, messages_hold_no_parameters) {
    const DatabaseError error = failure([&] {
        connection->query("SELECT absent FROM @parent WHERE name = $1", {std::string_view("hunter2")});
    });
    EXPECT_EQ(std::string(error.what()).find("hunter2"), std::string::npos) << error.what();
}

TEST_P(SqlTransactions, a_script_is_all_or_nothing) {
    EXPECT_THROW(
        connection->script(
            "INSERT INTO @parent(id, name) VALUES (1, 'a'); INSERT INTO @parent(id, name) VALUES (1, 'b');"),
        DatabaseError);
    EXPECT_EQ(count(), 0);
    connection->script("-- a comment\nINSERT INTO @parent(id, name) VALUES (1, 'a;b @parent $1');\n");
    EXPECT_EQ(connection->query("SELECT name FROM @parent").at(0, 0).text(), "a;b @parent $1");
    Transaction transaction(*connection);
    connection->script("INSERT INTO @parent(id, name) VALUES (2, 'b')");
    transaction.rollback();
    EXPECT_EQ(count(), 1);
}

TEST_P(SqlTransactions, a_pool_lends_returns_and_closes) {
    Pool pool(options(), 2);
    Connection* first = nullptr;
    {
        auto lease = pool.acquire();
        first = &*lease;
        lease->begin();
        lease->execute(kInsert, row(1));
    }  // given back in a transaction: rolled back
    auto lease = pool.acquire();
    EXPECT_EQ(&*lease, first);
    EXPECT_FALSE(lease->in_transaction());
    EXPECT_EQ(lease->execute(kCount).at(0, 0).integer(), 0);
    auto second = pool.acquire();
    EXPECT_NE(&*second, &*lease);
    seam::Thread closer = seam::spawn("closer", [&] {
        seam::sleep_for(std::chrono::milliseconds(20));
        pool.close();
    });
    const DatabaseError error = failure([&] { pool.acquire(); });
    closer.join();
    EXPECT_EQ(error.kind(), DatabaseErrorKind::closed);
    EXPECT_THROW(pool.acquire(), DatabaseError);
}

TEST_P(SqlTransactions, custom_schema_names_are_quoted) {
    if (!postgres()) return;
    OpenOptions odd = options();
    odd.schema = options().schema + " \"odd\"";
    const auto other = sql::open(odd);
    std::string quoted = "\"";
    for (const char c : odd.schema) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    quoted += '"';
    other->script("CREATE SCHEMA " + quoted + "; CREATE TABLE @parent(id BIGINT)");
    EXPECT_EQ(other->execute(kCount).at(0, 0).integer(), 0);
    other->script("DROP SCHEMA " + quoted + " CASCADE");
}

}  // namespace
}  // namespace dbos::sql
