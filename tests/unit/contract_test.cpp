#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "dbos/workflow.hpp"

namespace {

using dbos::detail::fits;
using dbos::detail::types;
using testing::HasSubstr;

struct Order {
    std::string id = {};
    int cents = 0;
};
DBOS_FIELDS(Order, id, cents)
struct CardDeclined : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(CardDeclined)
struct OutOfStock : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(OutOfStock)

inline constexpr auto Checkout =
    dbos::workflow<std::string(const Order&)>("checkout").throws<CardDeclined>().throws<OutOfStock>();
inline constexpr auto Resize =
    dbos::workflow<std::string(std::string, bool)>("resize", dbos::params("path", "*", "fast"));
inline constexpr auto Method = dbos::workflow<void()>("run").in_class("Shop", "main");
inline constexpr auto Sized =
    dbos::workflow<int(int, std::optional<int>)>("sized", dbos::params("width", "height"));
inline constexpr auto Owning = dbos::workflow<int(std::unique_ptr<int>)>("owning");

// What a call may give for a parameter.
static_assert(fits<types<int, double>, types<int, double>>);
static_assert(fits<types<int>, types<long>> && fits<types<std::int64_t>, types<unsigned char>>);
static_assert(fits<types<double>, types<int>>);
static_assert(fits<types<std::string>, types<const char (&)[4]>> &&
              fits<types<std::string>, types<std::string&>>);
static_assert(fits<types<std::optional<int>>, types<std::nullopt_t>> &&
              fits<types<std::optional<int>>, types<int>>);
static_assert(fits<types<std::optional<std::int64_t>>, types<int>>);
static_assert(fits<types<bool>, types<bool>>);
static_assert(!fits<types<int>, types<>> && !fits<types<>, types<int>>);
static_assert(!fits<types<int>, types<bool>> && !fits<types<bool>, types<int>> &&
              !fits<types<bool>, types<const char*>>);
static_assert(!fits<types<double>, types<bool>>);
static_assert(!fits<types<int>, types<double>>);
static_assert(!fits<types<std::string>, types<std::nullptr_t>>);
static_assert(!fits<types<std::string>, types<int>>);
static_assert(!fits<types<std::optional<std::int32_t>>, types<std::int64_t>>);
static_assert(!fits<types<std::optional<int>>, types<double>>);
static_assert(!fits<types<std::optional<bool>>, types<int>>);

static_assert(std::is_same_v<decltype(Checkout)::parameter_types, types<Order>>);
static_assert(
    std::is_same_v<decltype(dbos::workflow<const char*(const char*)>("x"))::result_type, std::string>);

template <class C, class... A>
dbos::Arguments encode(const C& contract, A... arguments) {
    return dbos::detail::encode_arguments(contract, arguments...);
}

TEST(Contract, knows_its_name_class_parameters_and_errors) {
    EXPECT_EQ(Checkout.name(), "checkout");
    EXPECT_TRUE(Checkout.params().empty());
    ASSERT_EQ(Checkout.error_types().size(), 2U);
    EXPECT_EQ(Checkout.error_types()[0].name, "CardDeclined");
    EXPECT_EQ(Checkout.error_types()[1].name, "OutOfStock");
    EXPECT_THAT(Resize.params(), testing::ElementsAre("path", "fast"));
    EXPECT_EQ(Resize.positional_count(), 1U);
    EXPECT_EQ(Method.class_name(), "Shop");
    EXPECT_EQ(Method.config_name(), "main");
}

TEST(Contract, sends_parameters_after_the_star_by_name) {
    const dbos::Arguments arguments = encode(Resize, std::string("a.png"), true);
    EXPECT_EQ(arguments.positional, std::vector<dbos::Value>{"a.png"});
    ASSERT_EQ(arguments.named.size(), 1U);
    EXPECT_EQ(arguments.named[0].first, "fast");
    EXPECT_EQ(arguments.named[0].second, dbos::Value(true));
}

TEST(Contract, encodes_move_only_arguments) {
    auto value = std::make_unique<int>(7);
    EXPECT_EQ(dbos::detail::encode_arguments(Owning, value).positional, std::vector<dbos::Value>{7});
}

TEST(Contract, checks_the_range_of_an_integer_of_another_width) {
    const auto narrow = [](std::int64_t value) {
        return dbos::detail::IntegerArgument<std::int8_t>(value).get();
    };
    EXPECT_EQ(narrow(-128), -128);
    EXPECT_THROW(narrow(128), dbos::UsageError);
    EXPECT_THROW(dbos::detail::IntegerArgument<unsigned>(-1), dbos::UsageError);
    try {
        narrow(300);
    } catch (const dbos::UsageError& error) {
        EXPECT_THAT(error.what(), HasSubstr("expected -128 to 127, got 300"));
    }
}

TEST(Contract, binds_positional_and_named_arguments) {
    const auto bind = [](const auto& contract, dbos::Arguments arguments) {
        return dbos::detail::decode_arguments(contract, arguments);
    };
    EXPECT_EQ(bind(Resize, {.positional = {"p"}, .named = {{"fast", true}}}), std::tuple("p", true));
    EXPECT_EQ(bind(Resize, {.positional = {}, .named = {{"fast", false}, {"path", "q"}}}),
              std::tuple("q", false));
    // Languages without named arguments send all by position.
    EXPECT_EQ(bind(Resize, {.positional = {"p", true}}), std::tuple("p", true));
    EXPECT_EQ(bind(Sized, {.positional = {3}}), std::tuple(3, std::optional<int>()));
    EXPECT_EQ(bind(Sized, {.positional = {3, 4}}), std::tuple(3, std::optional<int>(4)));
}

template <class C>
std::string refusal(const C& contract, const dbos::Arguments& arguments) {
    try {
        dbos::detail::decode_arguments(contract, arguments);
    } catch (const dbos::DecodeError& error) {
        return error.what();
    }
    return "accepted";
}

TEST(Contract, refuses_arguments_that_do_not_bind) {
    EXPECT_THAT(refusal(Sized, {.positional = {1, 2, 3}}),
                HasSubstr("at most 2 positional arguments, got 3"));
    EXPECT_THAT(refusal(Sized, {}), HasSubstr("position 1 or by the name \"width\""));
    EXPECT_THAT(refusal(Sized, {.positional = {1}, .named = {{"depth", 1}}}), HasSubstr("\"depth\""));
    EXPECT_THAT(refusal(Sized, {.positional = {1}, .named = {{"width", 1}}}), HasSubstr("\"width\" twice"));
    EXPECT_THAT(refusal(Owning, {.positional = {}, .named = {{"x", 1}}}), HasSubstr("dbos::params"));
    EXPECT_THAT(refusal(Sized, {.positional = {"three"}}), HasSubstr("string \"three\""));
    EXPECT_THAT(refusal(Sized, {.positional = {"three"}}), HasSubstr("arguments"));
}

TEST(Contract, a_call_by_name_puts_named_arguments_last) {
    const dbos::Arguments arguments = dbos::to_arguments(1, "two", dbos::named("fast", true));
    EXPECT_EQ(arguments.positional, (std::vector<dbos::Value>{1, "two"}));
    ASSERT_EQ(arguments.named.size(), 1U);
    EXPECT_THROW(dbos::to_arguments(dbos::named("a", 1), dbos::named("a", 2)), dbos::UsageError);
}

TEST(Name, of_a_literal_is_constant) {
    constexpr dbos::Name name = "charge";
    static_assert(name.text() == "charge");
    // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the copy is what is tested
    const dbos::Name copy = name;
    EXPECT_EQ(copy.text(), "charge");
}

TEST(Name, made_at_run_time_owns_its_text) {
    std::string text = "charge-17";
    dbos::Name name = dbos::Name::dynamic(text);
    text = "overwritten";
    // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the copy is what is tested
    const dbos::Name copy = name;
    const dbos::Name moved = std::move(name);
    EXPECT_EQ(copy.text(), "charge-17");
    EXPECT_EQ(moved.text(), "charge-17");
    EXPECT_NE(copy.text().data(), moved.text().data());
}

TEST(Name, made_at_run_time_is_checked_as_a_literal_is) {
    EXPECT_THROW(dbos::Name::dynamic(""), dbos::UsageError);
    EXPECT_THROW(dbos::Name::dynamic("DBOS.sleep"), dbos::UsageError);
    EXPECT_THROW(dbos::Name::dynamic("a\nb"), dbos::UsageError);
    EXPECT_THROW(dbos::Name::dynamic(std::string(256, 'x')), dbos::UsageError);
    EXPECT_EQ(dbos::Name::dynamic(std::string(255, 'x')).text().size(), 255U);
}

}  // namespace
