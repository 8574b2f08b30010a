// Connection strings: what they mean, and that no password leaves them.
#include <gtest/gtest.h>

#include <string>

#include "sql/connection.hpp"
#include "sql/text.hpp"

namespace dbos::sql {
namespace {

std::string refusal(const std::string& text) {
    try {
        (void)Url::parse(text);
    } catch (const ConfigError& error) {
        return error.what();
    }
    ADD_FAILURE() << text << " was accepted";
    return {};
}

TEST(Url, forms_of_sqlite) {
    struct Case {
        const char* text;
        const char* path;
    };
    for (const auto& [text, path] :
         {Case{"sqlite:///app.sqlite", "app.sqlite"}, Case{"sqlite:///dir/app.db", "dir/app.db"},
          Case{"sqlite:////var/lib/app.db", "/var/lib/app.db"}, Case{"sqlite:///:memory:", ":memory:"},
          Case{"sqlite:app.db", "app.db"}, Case{"sqlite:/var/app.db", "/var/app.db"},
          Case{"sqlite::memory:", ":memory:"}, Case{"sqlite3:app.db", "app.db"},
          Case{"sqlite+pysqlite:///a%20b%25.db", "a b%.db"}, Case{"sqlite:///a.db?", "a.db"}}) {
        const Url url = Url::parse(text);
        EXPECT_EQ(url.backend, Backend::sqlite) << text;
        EXPECT_EQ(url.path, path) << text;
    }
    EXPECT_EQ(Url::parse("sqlite:/var/app.db").printable, "sqlite:////var/app.db");
}

TEST(Url, forms_of_postgresql) {
    for (const char* text : {"postgresql://ann:s%40cret@db.example:5433/jobs?sslmode=require",
                             "postgres://ann:s%40cret@db.example:5433/jobs",
                             "postgresql+psycopg://ann:s%40cret@db.example:5433/jobs",
                             "host=db.example port=5433 user=ann password='s@c ret' dbname=jobs"}) {
        const Url url = Url::parse(text);
        EXPECT_EQ(url.backend, Backend::postgres) << text;
        EXPECT_EQ(url.database, "jobs") << text;
        EXPECT_EQ(url.printable, "postgresql://ann:***@db.example:5433/jobs") << text;
    }
    EXPECT_EQ(Url::parse("postgresql+psycopg://db/jobs").conninfo, "postgresql://db/jobs");
    EXPECT_EQ(Url::parse("postgresql:///jobs?host=/run/postgresql").printable,
              "postgresql:///run/postgresql/jobs");
}

TEST(Url, refusals_name_the_cure) {
    EXPECT_NE(refusal("").find("empty"), std::string::npos);
    EXPECT_NE(refusal("mysql://x/y").find("\"mysql\" is unknown"), std::string::npos);
    EXPECT_NE(refusal("jobs.sqlite").find("scheme is missing"), std::string::npos);
    EXPECT_NE(refusal("sqlite://jobs.sqlite").find("three slashes"), std::string::npos);
    EXPECT_NE(refusal("sqlite://").find("file name is missing"), std::string::npos);
    EXPECT_NE(refusal("sqlite:///a.db?mode=ro").find("not supported"), std::string::npos);
    EXPECT_NE(refusal("sqlite:///a%zz").find("%25"), std::string::npos);
    EXPECT_NE(refusal("sqlite:///a%00b").find("hexadecimal"), std::string::npos);
    EXPECT_NE(refusal("postgresql:host/jobs").find("two slashes"), std::string::npos);
    EXPECT_NE(refusal("postgresql://h/d?colour=red").find("\"colour\""), std::string::npos);
    EXPECT_NE(refusal("postgresql://h/d?sslmode").find("name=value"), std::string::npos);
    EXPECT_NE(refusal("postgresql://u:100%@h/d").find("%25"), std::string::npos);
}

TEST(Url, passwords_never_show) {
    for (const char* text :
         {"postgresql://ann:hunter2@[::1/jobs", "postgresql://ann:hun@hunter2@host:x/jobs",
          "postgresql://ann:hunter2@h/d?colour=1", "postgresql://h/d?password=hunter2&colour=1",
          "postgresql://h/d?sslpassword=hunter2&colour=1", "host=h password=hunter2 colour=1",
          "host=h password = 'a\\'hunter2' colour=1", "mysql://ann:hunter2@h/d",
          "postgresql:/ann:hunter2@h/d", "postgresql://ann:hunter2%zz@h/d", "ann:hunter2@h/d",
          "postgresql://ann:hu/hunter2@h/d", "postgresql://ann:hu?hunter2@h/d",
          "host=h password=hunter2 'x"}) {
        EXPECT_EQ(refusal(text).find("hunter2"), std::string::npos) << refusal(text);
    }
}

TEST(StatementText, names_and_parameters) {
    const char* const text =
        "SELECT '@a $1', \"@b\", $1, $12, j @> $2, j <@ $3, a@@b, @ 5, @fn($4) -- @c $5\n/* @d */ FROM "
        "@tab_1 x WHERE 'it''s @e'";
    EXPECT_EQ(expand(text, Backend::postgres, "my \"s\""),
              "SELECT '@a $1', \"@b\", $1, $12, j @> $2, j <@ $3, a@@b, @ 5, \"my \"\"s\"\"\".fn($4) -- @c "
              "$5\n/* @d */ FROM "
              "\"my \"\"s\"\"\".tab_1 x WHERE 'it''s @e'");
    EXPECT_EQ(expand(text, Backend::sqlite, "dbos"),
              "SELECT '@a $1', \"@b\", ?1, ?12, j @> ?2, j <@ ?3, a@@b, @ 5, fn(?4) -- @c $5\n/* @d */ FROM "
              "tab_1 x WHERE 'it''s @e'");
    EXPECT_EQ(expand("$$ SELECT 1 FROM @t $$", Backend::postgres, "s"), "$$ SELECT 1 FROM \"s\".t $$");
    EXPECT_EQ(expand("'open @a", Backend::sqlite, ""), "'open @a");
}

TEST(Cells, numbers_and_booleans) {
    EXPECT_EQ(Cell("-9223372036854775808").integer(), INT64_MIN);
    EXPECT_EQ(Cell("1700000000123.99").integer(), 1700000000123);
    EXPECT_EQ(Cell("1.7e+12").integer(), 1700000000000);
    EXPECT_EQ(Cell().optional_integer(), std::nullopt);
    for (const char* text : {"", "x", "12x", "9223372036854775808", "NaN", "1e300"}) {
        EXPECT_THROW((void)Cell(text).integer(), DatabaseError) << text;
    }
    EXPECT_TRUE(Cell("t").boolean());
    EXPECT_TRUE(Cell("1").boolean());
    EXPECT_FALSE(Cell("f").boolean());
    EXPECT_FALSE(Cell().boolean());
}

TEST(RetryDelay, doubles_up_to_its_cap_with_jitter) {
    using namespace std::chrono_literals;
    for (int round = 0; round < 200; ++round) {
        EXPECT_GE(retry_delay(0, 5s), 50ms);
        EXPECT_LE(retry_delay(0, 5s), 150ms);
        EXPECT_GE(retry_delay(2, 5s), 200ms);
        EXPECT_LE(retry_delay(2, 5s), 600ms);
        EXPECT_GE(retry_delay(1000, 5s), 2500ms);
        EXPECT_LE(retry_delay(1000, 5s), 7500ms);
    }
}

}  // namespace
}  // namespace dbos::sql
