// Values through both drivers: types, arrays, NULLs, names.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "support/database.hpp"

namespace dbos::sql {
namespace {

constexpr Statement kInsert{"insert_item",
                            "INSERT INTO @items(id, name, number, ratio, flag) VALUES ($1, $2, $3, $4, $5)"};
constexpr Statement kSelect{"select_item", "SELECT id, name, number, ratio, flag FROM @items WHERE id = $1",
                            Access::read};

class SqlValues : public test::DatabaseTest {
   public:
    void SetUp() override {
        DatabaseTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        connection = open();
        connection->script(
            "CREATE TABLE @items(id BIGINT PRIMARY KEY, name TEXT, number BIGINT, ratio DOUBLE PRECISION, "
            "flag BOOLEAN)");
    }
    void TearDown() override {
        connection.reset();
        DatabaseTest::TearDown();
    }
    Result select(std::int64_t id) { return connection->execute(kSelect, {id}); }
    /// "SELECT $1" of an array, one row an element.
    std::vector<std::optional<std::string>> elements(const Param& array, const char* type) {
        const std::string text = postgres() ? "SELECT v FROM unnest($1::" + std::string(type) +
                                                  ") WITH ORDINALITY AS t(v, n) ORDER BY n"
                                            : "SELECT value FROM json_each($1) ORDER BY key";
        const Result result = connection->query(text, {array});
        std::vector<std::optional<std::string>> found;
        for (std::size_t row = 0; row < result.size(); ++row)
            found.push_back(result.at(row, 0).optional_text());
        return found;
    }

    std::unique_ptr<Connection> connection;
};
DBOS_FOR_EVERY_DATABASE(SqlValues);

TEST_P(SqlValues, every_type_comes_back) {
    const std::string text = "Grüße, 世界 '\"\\ $1 @items -- 🎉";
    connection->execute(kInsert, {std::int64_t{1}, std::string_view(text),
                                  std::numeric_limits<std::int64_t>::min(), 0.1, true});
    const Result result = select(1);
    ASSERT_EQ(result.size(), 1U);
    EXPECT_EQ(result.at(0, result.column("name")).text(), text);
    EXPECT_EQ(result.at(0, 2).integer(), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(result.at(0, 3).real(), 0.1);
    EXPECT_TRUE(result.at(0, 4).boolean());
    EXPECT_THROW((void)result.column("absent"), std::out_of_range);
}

TEST_P(SqlValues, null_in_any_position_and_any_order) {
    connection->execute(kInsert, {std::int64_t{1}, Param(), Param(), Param(), Param()});
    connection->execute(kInsert, {std::int64_t{2}, std::string_view(""), std::int64_t{7}, -1.5, false});
    connection->execute(kInsert, {std::int64_t{3}, Param(), std::int64_t{8}, Param(), true});
    const Result nulls = select(1);
    for (std::size_t column = 1; column < 5; ++column) EXPECT_TRUE(nulls.at(0, column).null());
    const Result full = select(2);
    EXPECT_FALSE(full.at(0, 1).null());
    EXPECT_EQ(full.at(0, 1).text(), "");
    EXPECT_EQ(full.at(0, 2).optional_integer(), 7);
    EXPECT_FALSE(full.at(0, 4).boolean());
    EXPECT_EQ(select(3).at(0, 2).integer(), 8);
}

TEST_P(SqlValues, big_texts) {
    std::string big(8 << 20, 'x');
    for (std::size_t i = 0; i + 1 < big.size(); i += 1024) {
        big[i] = '\xc3';
        big[i + 1] = '\xa9';
    }
    connection->execute(kInsert, {std::int64_t{1}, std::string_view(big), Param(), Param(), Param()});
    EXPECT_TRUE(select(1).at(0, 1).text() == big);
}

TEST_P(SqlValues, a_text_with_nul_is_refused_before_sending) {
    const std::string text("a\0b", 3);
    EXPECT_THROW(
        connection->execute(kInsert, {std::int64_t{1}, std::string_view(text), Param(), Param(), Param()}),
        UsageError);
    EXPECT_THROW(elements(TextArray{std::string_view(text)}, "text[]"), UsageError);
    EXPECT_TRUE(connection->usable());
    EXPECT_TRUE(select(1).empty());
}

TEST_P(SqlValues, arrays_with_nulls_quotes_and_nothing) {
    using Texts = std::vector<std::optional<std::string>>;
    const std::string odd = "\"a\\b',{}\n\t\x01 NULL é";
    EXPECT_EQ(elements(TextArray{odd, std::nullopt, "", "NULL"}, "text[]"),
              (Texts{odd, std::nullopt, "", "NULL"}));
    EXPECT_EQ(elements(TextArray{}, "text[]"), Texts{});
    EXPECT_EQ(elements(IntArray{1, std::nullopt, std::numeric_limits<std::int64_t>::max()}, "bigint[]"),
              (Texts{"1", std::nullopt, "9223372036854775807"}));
    EXPECT_EQ(elements(IntArray{}, "bigint[]"), Texts{});
    const auto flags = elements(BoolArray{true, std::nullopt, false}, "boolean[]");
    ASSERT_EQ(flags.size(), 3U);
    EXPECT_TRUE(Cell(*flags[0]).boolean());
    EXPECT_EQ(flags[1], std::nullopt);
    EXPECT_FALSE(Cell(*flags[2]).boolean());
}

TEST_P(SqlValues, affected_rows_and_returning) {
    for (std::int64_t id = 1; id <= 3; ++id)
        connection->execute(kInsert, {id, Param(), id, Param(), Param()});
    EXPECT_EQ(
        connection->query("UPDATE @items SET number = 9 WHERE id > $1", {std::int64_t{1}}, Access::write)
            .affected(),
        2);
    const Result deleted = connection->query("DELETE FROM @items WHERE id = $1 RETURNING number",
                                             {std::int64_t{1}}, Access::write);
    ASSERT_EQ(deleted.size(), 1U);
    EXPECT_EQ(deleted.at(0, 0).integer(), 1);
    EXPECT_EQ(connection->query("DELETE FROM @items WHERE id = 99", {}, Access::write).affected(), 0);
}

TEST_P(SqlValues, more_texts_than_the_cache_holds) {
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 150; ++i) {
            EXPECT_EQ(connection->query("SELECT " + std::to_string(i) + " + $1", {std::int64_t{1}})
                          .at(0, 0)
                          .integer(),
                      i + 1);
        }
    }
    // Pushed out, and wanted again in a transaction.
    Transaction transaction(*connection);
    EXPECT_EQ(connection->query("SELECT 85 + $1", {std::int64_t{1}}).at(0, 0).integer(), 86);
    EXPECT_EQ(connection->query("SELECT 86 + $1", {std::int64_t{1}}).at(0, 0).integer(), 87);
    EXPECT_EQ(connection->query("SELECT 0 + $1", {std::int64_t{1}}).at(0, 0).integer(), 1);
    transaction.commit();
}

TEST_P(SqlValues, one_statement_with_other_parameter_types) {
    const std::string text = "SELECT CAST($1 AS TEXT)";
    EXPECT_EQ(connection->query(text, {std::string_view("a")}).at(0, 0).text(), "a");
    EXPECT_EQ(connection->query(text, {std::int64_t{5}}).at(0, 0).text(), "5");
    EXPECT_TRUE(connection->query(text, {Param()}).at(0, 0).null());
    EXPECT_EQ(connection->query(text, {std::string_view("b")}).at(0, 0).text(), "b");
}

TEST_P(SqlValues, a_result_outlives_later_calls) {
    connection->execute(kInsert, {std::int64_t{1}, std::string_view("one"), Param(), Param(), Param()});
    connection->execute(kInsert, {std::int64_t{2}, std::string_view("two"), Param(), Param(), Param()});
    const Result one = select(1);
    const Result two = select(2);
    connection.reset();
    EXPECT_EQ(one.at(0, 1).text(), "one");
    EXPECT_EQ(two.at(0, 1).text(), "two");
}

TEST_P(SqlValues, a_column_that_changes_its_type_under_a_prepared_statement) {
    connection->execute(kInsert,
                        {std::int64_t{1}, std::string_view("one"), std::int64_t{2}, Param(), Param()});
    constexpr Statement kAll{"select_all", "SELECT * FROM @items", Access::read};
    EXPECT_EQ(connection->execute(kAll).columns(), 5U);
    open()->script("ALTER TABLE @items ADD COLUMN extra TEXT");
    EXPECT_EQ(connection->execute(kAll).columns(), 6U);
    EXPECT_EQ(connection->execute(kAll).columns(), 6U);
}

}  // namespace
}  // namespace dbos::sql
