#include <gtest/gtest.h>

#include <map>
#include <set>

#include "dbos/ext/nlohmann.hpp"
#include "unit/value_printer.hpp"

namespace depot {
struct Box {
    std::string label = {};
    int weight = 0;
    bool operator==(const Box&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Box, label, weight)

class Seal {
   public:
    Seal() = default;
    explicit Seal(int number) : number_(number) {}
    bool operator==(const Seal&) const = default;

   private:
    int number_ = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Seal, number_)
};

enum class Size { small, large };
NLOHMANN_JSON_SERIALIZE_ENUM(Size, {{Size::small, "S"}, {Size::large, "L"}})
enum class Bare { one };

struct Both {
    int a = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Both, a)
DBOS_FIELDS(Both, a)

struct Pallet {
    std::vector<Box> boxes = {};
    std::optional<Seal> seal = {};
};
DBOS_FIELDS(Pallet, boxes, seal)
}  // namespace depot

namespace {

using dbos::Array;
using dbos::Object;
using dbos::Value;

static_assert(dbos::Serializable<depot::Box> && dbos::Serializable<depot::Seal> &&
              dbos::Serializable<depot::Size>);
static_assert(dbos::Serializable<depot::Both> && !dbos::Serializable<depot::Bare>);
// What was serializable stays so, by the same codec, and what was refused stays refused.
static_assert(dbos::Serializable<std::vector<int>> && dbos::Serializable<std::map<std::string, int>>);
static_assert(dbos::Serializable<std::set<int>> && dbos::Serializable<std::pair<int, int>> &&
              dbos::Serializable<dbos::Any>);
static_assert(!dbos::Serializable<std::map<int, int>> && !dbos::Serializable<std::string_view>);
static_assert(!dbos::Serializable<std::shared_ptr<int>>);

TEST(NlohmannAdapter, TypesWithToJsonAreSerializable) {
    const depot::Box box{"a", 3};
    EXPECT_EQ(dbos::to_value(box), (Value(Object{{"label", "a"}, {"weight", 3}})));
    EXPECT_EQ(dbos::from_value<depot::Box>(dbos::to_value(box)), box);
    EXPECT_EQ(dbos::from_value<depot::Seal>(dbos::to_value(depot::Seal(5))), depot::Seal(5));
    EXPECT_EQ(dbos::to_value(depot::Size::large), Value("L"));
    EXPECT_EQ(dbos::from_value<depot::Size>("L"), depot::Size::large);
    const depot::Pallet pallet{{box}, depot::Seal(7)};
    const auto back = dbos::from_value<depot::Pallet>(dbos::to_value(pallet));
    EXPECT_EQ(back.boxes, pallet.boxes);
    EXPECT_EQ(back.seal, pallet.seal);
}

TEST(NlohmannAdapter, ErrorsKeepThePath) {
    const Value stored = Object{{"boxes", Array{Object{{"label", "a"}, {"weight", "heavy"}}}}};
    try {
        (void)dbos::from_value<depot::Pallet>(stored);
        FAIL();
    } catch (const dbos::DecodeError& error) {
        EXPECT_EQ(error.path(), "$.boxes[0]");
        EXPECT_NE(std::string(error.what()).find("type must be number"), std::string::npos) << error.what();
    }
}

TEST(NlohmannAdapter, JsonItself) {
    const auto json =
        nlohmann::ordered_json::parse(R"({"b":[1,2.5,null,true,18446744073709551615],"a":"x"})");
    const Value value = dbos::to_value(json);
    EXPECT_EQ(value.as_object()[0].first, "b");
    EXPECT_EQ(value.at("b").at(4).integer_text(), "18446744073709551615");
    EXPECT_EQ(dbos::from_value<nlohmann::ordered_json>(value).dump(), json.dump());
    EXPECT_EQ(dbos::from_value<nlohmann::json>(value), nlohmann::json::parse(json.dump()));
    EXPECT_EQ(dbos::from_value<nlohmann::json>(dbos::Timestamp{0, 0, 0}),
              nlohmann::json("1970-01-01T00:00:00.000Z"));
    EXPECT_THROW((void)dbos::from_value<nlohmann::json>(Value::integer("18446744073709551616")),
                 dbos::DecodeError);
    EXPECT_THROW((void)dbos::from_value<nlohmann::json>(dbos::Opaque{"m", "n", {}}), dbos::DecodeError);
    const dbos::Bytes bytes{std::byte{1}, std::byte{2}};
    EXPECT_EQ(dbos::from_nlohmann(dbos::to_nlohmann<nlohmann::json>(bytes)), Value(bytes));
}

}  // namespace
