// The tables of the shop: what a transaction does, and nothing durable.
#pragma once

#include "../web/sql.hpp"
#include "../web/web.hpp"

namespace shop {

/// Numbers that the page and the demo programs of the other SDKs know.
enum class OrderStatus { cancelled = -1, pending = 0, dispatched = 1, paid = 2 };

/// Creates the tables `products`, with one product, and `orders`, unless they are there.
void create_tables(web::Sql& sql);

int create_order(web::Sql& sql);
void set_order_status(web::Sql& sql, int order_id, OrderStatus status);
/// Takes one widget from the shelf; false if there is none.
bool reserve_inventory(web::Sql& sql);
void undo_reserve_inventory(web::Sql& sql);
void restock(web::Sql& sql);
/// One of ten parts of the way to the customer is done; after the last one the order is dispatched.
void advance_order(web::Sql& sql, int order_id);

web::Json product(web::Sql& sql);
web::Json orders(web::Sql& sql);
/// null if there is no such order.
web::Json order(web::Sql& sql, int order_id);

}  // namespace shop
