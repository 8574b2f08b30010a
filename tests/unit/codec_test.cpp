#include "dbos/codec.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <list>
#include <map>
#include <set>
#include <unordered_map>

#include "unit/value_printer.hpp"

namespace shop {
struct Item {
    std::string sku = {};
    int count = 0;
    bool operator==(const Item&) const = default;
};
DBOS_FIELDS(Item, sku, count)

struct Order {
    std::string id = {};
    std::vector<Item> items = {};
    std::optional<std::string> coupon = {};
    bool operator==(const Order&) const = default;
};
DBOS_FIELDS(Order, id, items, coupon)

struct Node {
    int value = 0;
    std::vector<Node> children = {};
    std::unique_ptr<Node> next = {};
};
DBOS_FIELDS(Node, value, children, next)

struct Empty {
    bool operator==(const Empty&) const = default;
};
DBOS_FIELDS(Empty)

enum class Colour : std::uint8_t { red, green };
DBOS_ENUM(Colour, red, green)

class Account {
   public:
    Account() = default;
    explicit Account(int balance) : balance_(balance) {}
    int balance() const { return balance_; }

   private:
    int balance_ = 0;
    DBOS_MEMBERS(Account, balance_)
};

struct Wide {
    int a1 = 1, a2 = 2, a3 = 3, a4 = 4, a5 = 5, a6 = 6, a7 = 7, a8 = 8, a9 = 9, a10 = 10, a11 = 11, a12 = 12,
        a13 = 13, a14 = 14, a15 = 15, a16 = 16, a17 = 17, a18 = 18, a19 = 19, a20 = 20, a21 = 21, a22 = 22,
        a23 = 23, a24 = 24, a25 = 25, a26 = 26, a27 = 27, a28 = 28, a29 = 29, a30 = 30, a31 = 31, a32 = 32,
        a33 = 33, a34 = 34, a35 = 35, a36 = 36, a37 = 37, a38 = 38, a39 = 39, a40 = 40;
};
DBOS_FIELDS(Wide, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
            a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, a33, a34, a35, a36, a37, a38, a39,
            a40)

// A type with a codec of its own.
struct Money {
    std::int64_t cents = 0;
    bool operator==(const Money&) const = default;
};
}  // namespace shop

template <>
struct dbos::Codec<shop::Money> {
    static Value encode(const shop::Money& money) { return std::to_string(money.cents) + "c"; }
    static shop::Money decode(const Value& value, const Path& path) {
        if (value.kind() != Kind::string || !value.as_string().ends_with('c'))
            fail_decode(path, "cents", value);
        return {std::stoll(value.as_string())};
    }
};

namespace {

using dbos::Array;
using dbos::from_value;
using dbos::Object;
using dbos::Serializable;
using dbos::to_value;
using dbos::Value;
using namespace std::chrono_literals;

static_assert(Serializable<shop::Order> && Serializable<shop::Node> && Serializable<shop::Money>);
static_assert(!Serializable<std::string_view> && !Serializable<const char*> && !Serializable<int*> &&
              !Serializable<int&>);
static_assert(!Serializable<char> && !Serializable<std::map<int, int>> &&
              !Serializable<std::shared_ptr<int>>);
static_assert(!Serializable<std::vector<int*>> && !Serializable<std::optional<std::string_view>>);
static_assert(!Serializable<std::variant<int, long>> && !Serializable<std::variant<double, int>>);
static_assert(!Serializable<std::variant<Value, int>> && Serializable<std::variant<int, Value>>);
static_assert(Serializable<
              std::variant<std::monostate, bool, int, double, std::string, std::vector<int>, shop::Order>>);

template <class T>
std::string failure(const Value& value) {
    try {
        (void)from_value<T>(value);
    } catch (const dbos::DecodeError& error) {
        return error.what();
    }
    return "decoded";
}

template <class T>
void expect_round_trip(const T& value, const Value& stored) {
    EXPECT_EQ(to_value(value), stored);
    EXPECT_EQ(from_value<T>(stored), value);
}

TEST(Codec, BuiltInTypes) {
    expect_round_trip(true, true);
    expect_round_trip(5, 5);
    expect_round_trip(std::numeric_limits<std::uint64_t>::max(), Value::integer("18446744073709551615"));
    expect_round_trip(std::numeric_limits<std::int64_t>::min(), Value::integer("-9223372036854775808"));
    expect_round_trip(2.5, 2.5);
    expect_round_trip(std::string("x"), "x");
    expect_round_trip(std::optional<int>(), nullptr);
    expect_round_trip(std::optional<int>(5), 5);
    expect_round_trip(std::vector<int>{1, 2}, Array{1, 2});
    expect_round_trip(std::vector<bool>{true, false}, Array{true, false});
    expect_round_trip(std::deque<int>{1}, Array{1});
    expect_round_trip(std::list<std::string>{"a"}, Array{"a"});
    expect_round_trip(std::array<int, 2>{1, 2}, Array{1, 2});
    expect_round_trip(std::set<std::string>{"a", "b"}, Array{"a", "b"});
    expect_round_trip(std::pair<int, std::string>{1, "a"}, Array{1, "a"});
    expect_round_trip(std::tuple<int, bool, std::string>{1, true, "a"}, Array{1, true, "a"});
    expect_round_trip(std::tuple<>{}, Array{});
    expect_round_trip(std::map<std::string, int>{{"a", 1}}, Object{{"a", 1}});
    expect_round_trip(std::unordered_map<std::string, int>{{"a", 1}}, Object{{"a", 1}});
    expect_round_trip(dbos::Bytes{std::byte{1}}, dbos::Bytes{std::byte{1}});
    expect_round_trip(std::monostate{}, nullptr);
    expect_round_trip(Value(Array{1}), Array{1});
    EXPECT_EQ(*from_value<std::unique_ptr<int>>(to_value(std::make_unique<int>(5))), 5);
    EXPECT_EQ(from_value<std::unique_ptr<int>>(Value()), nullptr);
    EXPECT_EQ(to_value("text"), Value("text"));
    EXPECT_EQ(to_value(std::string_view("text")), Value("text"));
    EXPECT_EQ(to_value(nullptr), Value());
}

TEST(Codec, TimesAndDurations) {
    const std::chrono::system_clock::time_point t{1'750'000'000'123'456'789ns};
    expect_round_trip(t, dbos::Timestamp{1'750'000'000, 123'456'789, 0});
    EXPECT_EQ(from_value<std::chrono::system_clock::time_point>("2025-06-15T17:06:40.123456789+02:00"), t);
    using Millis = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;
    EXPECT_EQ(from_value<Millis>("1969-12-31T23:59:59.9999Z").time_since_epoch().count(), -1);
    EXPECT_EQ(
        failure<std::chrono::system_clock::time_point>("+275760-09-13T00:00:00Z"),
        "at $: expected an instant between the years 1678 and 2261, got string \"+275760-09-13T00:00:00Z\"");
    EXPECT_EQ(failure<std::chrono::system_clock::time_point>("yesterday"),
              "at $: expected timestamp or RFC 3339 text, got string \"yesterday\"");
    expect_round_trip(std::chrono::milliseconds(1500), 1.5);
    expect_round_trip(std::chrono::milliseconds(-1), -0.001);
    expect_round_trip(std::chrono::seconds(90), 90);
    expect_round_trip(std::chrono::hours(2), 7200);
    expect_round_trip(dbos::Duration(0.25), 0.25);
    expect_round_trip(std::chrono::nanoseconds(1), 1e-9);
    EXPECT_THROW((void)to_value(std::chrono::nanoseconds(std::numeric_limits<std::int64_t>::max())),
                 dbos::EncodeError);
    EXPECT_EQ(failure<std::chrono::nanoseconds>(1e12),
              "at $: expected a duration within the range of its type, got number 1e+12");
    EXPECT_EQ(from_value<std::chrono::milliseconds>(
                  Value::annotated("duration", {{"days", 1}, {"seconds", 2}, {"nanos", 3'000'000}})),
              std::chrono::milliseconds(86'402'003));
}

TEST(Codec, IntegersAreRangeChecked) {
    EXPECT_EQ(failure<std::int8_t>(128), "at $: expected integer from -128 to 127, got integer 128");
    EXPECT_EQ(failure<std::uint8_t>(-1), "at $: expected integer from 0 to 255, got integer -1");
    EXPECT_EQ(from_value<std::uint8_t>(255), 255);
    EXPECT_EQ(failure<std::uint64_t>(Value::integer("18446744073709551616")),
              "at $: expected integer from 0 to 18446744073709551615, got integer 18446744073709551616");
    EXPECT_EQ(failure<std::int64_t>(Value::integer("9223372036854775808")),
              "at $: expected integer from -9223372036854775808 to 9223372036854775807, got integer "
              "9223372036854775808");
    EXPECT_EQ(failure<int>(1.0), "at $: expected integer, got number 1.0");
    EXPECT_EQ(failure<int>(true), "at $: expected integer, got boolean true");
    EXPECT_EQ(failure<bool>(1), "at $: expected boolean, got integer 1");
    EXPECT_EQ(from_value<double>(7), 7.0);
    EXPECT_EQ(failure<float>(1e300), "at $: expected number within the range of a float, got number 1e+300");
}

TEST(Codec, StructsAndPaths) {
    const shop::Order order{"o-17", {{"a", 2}, {"b", 1}}, std::nullopt};
    const Value stored = to_value(order);
    EXPECT_EQ(stored, (Value(Object{{"id", "o-17"},
                                    {"items", Array{Object{{"sku", "a"}, {"count", 2}},
                                                    Object{{"sku", "b"}, {"count", 1}}}},
                                    {"coupon", nullptr}})));
    EXPECT_EQ(from_value<shop::Order>(stored), order);

    Value wrong = stored;
    wrong.as_object()[1].second.as_array()[0].set("count", "three");
    const dbos::Path root("$[0]");
    try {
        (void)from_value<shop::Order>(wrong, root);
        FAIL();
    } catch (const dbos::DecodeError& error) {
        EXPECT_STREQ(error.what(), "at $[0].items[0].count: expected integer, got string \"three\"");
        EXPECT_EQ(error.path(), "$[0].items[0].count");
        EXPECT_EQ(error.expected(), "integer");
        EXPECT_EQ(error.refusal(), "bad_value");
    }
    EXPECT_EQ(failure<shop::Order>(Object{{"id", "x"}}),
              "at $.items: expected a value, got nothing: the member is missing");
    EXPECT_EQ(failure<shop::Order>(Array{}), "at $: expected object, got array of 0");
    // Optional members may be absent, unknown ones are ignored.
    EXPECT_EQ(from_value<shop::Order>(Object{{"new", 1}, {"items", Array{}}, {"id", "x"}}),
              (shop::Order{"x", {}, {}}));
    EXPECT_EQ((failure<std::map<std::string, int>>(Object{{"a b", "x"}})),
              "at $[\"a b\"]: expected integer, got string \"x\"");
    EXPECT_EQ((failure<std::pair<int, int>>(Array{1})), "at $: expected array of 2, got array of 1");
    expect_round_trip(shop::Empty{}, Object{});
    expect_round_trip(shop::Money{42}, "42c");
}

TEST(Codec, RecursiveAndPrivateTypes) {
    shop::Node node{1, {}, {}};
    node.children.push_back({2, {}, {}});
    node.next = std::make_unique<shop::Node>(shop::Node{3, {}, {}});
    const auto back = from_value<shop::Node>(to_value(node));
    EXPECT_EQ(back.children.at(0).value, 2);
    EXPECT_EQ(back.next->value, 3);
    EXPECT_EQ(back.next->next, nullptr);
    EXPECT_EQ(to_value(shop::Account(7)), (Value(Object{{"balance_", 7}})));
    EXPECT_EQ(from_value<shop::Account>(Object{{"balance_", 8}}).balance(), 8);
    EXPECT_EQ(to_value(shop::Wide()).size(), 40U);
    EXPECT_EQ(from_value<shop::Wide>(to_value(shop::Wide())).a40, 40);
}

TEST(Codec, Enums) {
    expect_round_trip(shop::Colour::green, "green");
    EXPECT_EQ(failure<shop::Colour>("blue"), "at $: expected one of \"red\", \"green\", got string \"blue\"");
    EXPECT_THROW((void)to_value(static_cast<shop::Colour>(7)), dbos::EncodeError);
}

TEST(Codec, VariantsTakeTheFirstThatFits) {
    using V = std::variant<std::monostate, bool, int, double, std::string, std::vector<int>>;
    expect_round_trip(V(), nullptr);
    expect_round_trip(V(true), true);
    expect_round_trip(V(5), 5);
    expect_round_trip(V(5.0), 5.0);
    expect_round_trip(V("x"), "x");
    expect_round_trip(V(std::vector<int>{1}), Array{1});
    EXPECT_NE(failure<V>(Object{}).find("one of the variant's alternatives"), std::string::npos);
    // Both alternatives read an empty array, so it would come back as the first.
    using Lists = std::variant<std::vector<int>, std::vector<std::string>>;
    expect_round_trip(Lists(std::vector<std::string>{"a"}), Array{"a"});
    EXPECT_THROW((void)to_value(Lists(std::vector<std::string>{})), dbos::EncodeError);
}

TEST(Codec, ValuesOfOtherLanguages) {
    EXPECT_EQ(from_value<std::vector<int>>(Value::annotated("tuple", {{"items", Array{1, 2}}})),
              (std::vector{1, 2}));
    EXPECT_EQ(from_value<long>(Value::annotated("int", {{"value", 5}, {"flavor", "java.lang.Long"}})), 5);
    EXPECT_EQ(from_value<std::string>(Value::annotated("uuid", {{"value", "x"}})), "x");
    const Value map = Value::annotated("map", {{"entries", Array{Value(Array{"a", 1})}}});
    EXPECT_EQ((from_value<std::map<std::string, int>>(map)), (std::map<std::string, int>{{"a", 1}}));
    const Value int_keys = Value::annotated("map", {{"entries", Array{Value(Array{1, 1})}}});
    EXPECT_EQ((failure<std::map<std::string, int>>(int_keys)),
              "at $: expected object with text keys, got a value of kind map");
    EXPECT_EQ(from_value<dbos::Bytes>("AQ=="), dbos::Bytes{std::byte{1}});
    EXPECT_EQ(failure<dbos::Bytes>("?"), "at $: expected bytes or base64 text, got string \"?\"");
    EXPECT_EQ(failure<shop::Item>(dbos::Opaque{"app", "Item", {}}),
              "at $: expected object, got an instance of app.Item");
}

struct AnyOption {
    dbos::Any value = {};
};

TEST(Any, TakesEverySerializableType) {
    EXPECT_EQ((AnyOption{.value = "text"}).value.value(), Value("text"));
    EXPECT_EQ((AnyOption{.value = 5}).value.value(), Value(5));
    EXPECT_EQ((AnyOption{.value = true}).value.value(), Value(true));
    EXPECT_EQ((AnyOption{.value = shop::Item{"a", 1}}).value.value(), to_value(shop::Item{"a", 1}));
    EXPECT_EQ((AnyOption{.value = Value(Array{1})}).value.value(), Value(Array{1}));
    static_assert(!std::is_constructible_v<dbos::Any, int*>);
}

TEST(ToArguments, PositionalThenNamed) {
    const dbos::Arguments arguments =
        dbos::to_arguments(1, "a", shop::Colour::red, dbos::named("fast", true));
    EXPECT_EQ(arguments.positional, (std::vector<Value>{1, "a", "red"}));
    EXPECT_EQ(arguments.named, (Object{{"fast", true}}));
    EXPECT_EQ(dbos::to_arguments(), dbos::Arguments{});
    EXPECT_THROW((void)dbos::to_arguments(dbos::named("a", 1), dbos::named("a", 2)), dbos::UsageError);
    EXPECT_THROW((void)dbos::to_arguments(dbos::named("", 1)), dbos::UsageError);
}

}  // namespace
