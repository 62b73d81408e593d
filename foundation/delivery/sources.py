"""The eight sources of the delivery data: orders of a delivery company and what belongs to them.

A file of one's own sources, for `--sources`, looks just like this one.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from foundation.schema import Record, in_order, sources_in

Key = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Rating = Annotated[int, Field(ge=1, le=5)]

# Six digits; ten, eleven with a zero before them, or twelve with a plus: what the real files hold. A spreadsheet that
# took such texts for numbers has cut their zeros and plus signs; the checks name the rows it did that to, but not a
# telephone number of eleven digits, which is as good as another one without its zero.
PINCODE = "length(pincode) = 6 AND pincode NOT GLOB '*[^0-9]*'"
PHONE = "length({0}) IN (10, 11, 13) AND ltrim({0}, '+') NOT GLOB '*[^0-9]*'"


class Client(
    Record,
    table="clients",
    key="client_id",
    indexes=[("city", "state"), ("created_at",)],
    checks={
        "pincode_has_six_digits": PINCODE,
        "contact_phone_is_complete": PHONE.format("contact_phone"),
        "contact_email_has_an_at": "contact_email LIKE '%_@_%'",
        "gst_number_has_15_characters": "length(gst_number) = 15",
    },
):
    """A company that has orders delivered."""

    client_id: Key
    client_name: str
    gst_number: str = Field(description="goods and services tax number")
    contact_person: str
    contact_phone: str
    contact_email: str
    address_line1: str
    address_line2: str
    city: str
    state: str
    pincode: str
    created_at: datetime


class Driver(
    Record,
    table="drivers",
    key="driver_id",
    indexes=[("city", "state"), ("status",), ("partner_company",), ("created_at",)],
    checks={"phone_is_complete": PHONE.format("phone")},
):
    """A person who delivers orders for a partner company."""

    driver_id: Key
    driver_name: str
    phone: str
    license_number: str
    partner_company: str
    city: str
    state: str
    status: Literal["Active", "Inactive"]
    created_at: datetime


class Warehouse(
    Record,
    table="warehouses",
    key="warehouse_id",
    indexes=[("city", "state"), ("created_at",)],
    checks={
        "pincode_has_six_digits": PINCODE,
        "contact_phone_is_complete": PHONE.format("contact_phone"),
        "capacity_is_positive": "capacity > 0",
    },
):
    """A place from which orders are dispatched."""

    warehouse_id: Key
    warehouse_name: str
    state: str
    city: str
    pincode: str
    capacity: Count = Field(description="parcels that fit")
    manager_name: str
    contact_phone: str
    created_at: datetime


class Order(
    Record,
    table="orders",
    key="order_id",
    references={"client_id": "clients"},
    indexes=[("client_id",), ("city", "state"), ("order_date",), ("status",)],
    checks={
        "promised_after_ordered": "promised_delivery_date >= order_date",
        "delivered_after_ordered": "actual_delivery_date >= order_date",
        "created_after_ordered": "created_at >= order_date",
        "delivered_has_a_delivery_date": "status <> 'Delivered' OR actual_delivery_date IS NOT NULL",
        "only_delivered_has_a_delivery_date": "status = 'Delivered' OR actual_delivery_date IS NULL",
        "failed_has_a_reason": "status <> 'Failed' OR failure_reason IS NOT NULL",
        "only_failed_has_a_reason": "status = 'Failed' OR failure_reason IS NULL",
        "amount_is_positive": "amount > 0",
        "pincode_has_six_digits": PINCODE,
        "customer_phone_is_complete": PHONE.format("customer_phone"),
    },
):  # fmt: skip
    """One order of one customer, placed through a client."""

    order_id: Key
    client_id: Key
    customer_name: str
    customer_phone: str
    delivery_address_line1: str = Field(description="may hold line breaks")
    delivery_address_line2: str
    city: str
    state: str
    pincode: str
    order_date: datetime
    promised_delivery_date: datetime
    actual_delivery_date: datetime | None = Field(None, description="missing until delivered")
    status: Literal["Delivered", "Failed", "In-Transit", "Pending", "Returned"]
    payment_mode: Literal["COD", "Prepaid"] = Field(description="COD: cash on delivery")
    amount: Amount = Field(description="rupees")
    failure_reason: (
        Literal["Incorrect address", "Stockout", "Traffic congestion", "Warehouse delay", "Weather disruption"] | None
    ) = None
    created_at: datetime


class FleetLog(
    Record,
    table="fleet_logs",
    key="fleet_log_id",
    references={"order_id": "orders", "driver_id": "drivers"},
    indexes=[
        ("order_id",), ("driver_id",), ("route_code",), ("gps_delay_notes",),
        ("departure_time",), ("arrival_time",), ("created_at",),
    ],
    checks={
        "arrival_after_departure": "arrival_time >= departure_time",
        "driver_is_active": "(SELECT status FROM drivers d WHERE d.driver_id = fleet_logs.driver_id) = 'Active'",
        "departure_after_order":
            "departure_time >= (SELECT order_date FROM orders o WHERE o.order_id = fleet_logs.order_id)",
        "created_after_departure": "created_at >= departure_time",
    },
):  # fmt: skip
    """One trip of a driver with an order."""

    fleet_log_id: Key
    order_id: Key
    driver_id: Key
    vehicle_number: str
    route_code: str
    gps_delay_notes: str | None = None
    departure_time: datetime
    arrival_time: datetime
    created_at: datetime


class WarehouseLog(
    Record,
    table="warehouse_logs",
    key="log_id",
    references={"order_id": "orders", "warehouse_id": "warehouses"},
    indexes=[
        ("order_id",), ("warehouse_id",), ("picking_start",), ("picking_end",), ("dispatch_time",), ("notes",),
    ],
    checks={
        "picking_ends_after_its_start": "picking_end >= picking_start",
        "dispatch_after_picking": "dispatch_time >= picking_end",
        "picking_after_order":
            "picking_start >= (SELECT order_date FROM orders o WHERE o.order_id = warehouse_logs.order_id)",
    },
):  # fmt: skip
    """One order's way through a warehouse."""

    log_id: Key
    order_id: Key
    warehouse_id: Key
    picking_start: datetime
    picking_end: datetime
    dispatch_time: datetime
    notes: str | None = None


class ExternalFactor(
    Record,
    table="external_factors",
    key="factor_id",
    references={"order_id": "orders"},
    indexes=[("order_id",), ("traffic_condition",), ("weather_condition",), ("event_type",), ("recorded_at",)],
    checks={
        "recorded_after_order":
            "recorded_at >= (SELECT order_date FROM orders o WHERE o.order_id = external_factors.order_id)",
    },
):  # fmt: skip
    """What went on around an order: traffic, weather, events."""

    factor_id: Key
    order_id: Key
    traffic_condition: Literal["Clear", "Heavy", "Moderate"]
    weather_condition: Literal["Clear", "Fog", "Rain"]
    event_type: Literal["Festival", "Holiday", "Strike"] | None = None
    recorded_at: datetime


class Feedback(
    Record,
    table="feedback",
    key="feedback_id",
    references={"order_id": "orders"},
    indexes=[("order_id",), ("sentiment",), ("rating",), ("created_at",)],
    checks={
        "sentiment_fits_the_rating":
            "NOT (sentiment = 'Positive' AND rating <= 2 OR sentiment = 'Negative' AND rating >= 4)",
        "feedback_after_order":
            "created_at >= (SELECT order_date FROM orders o WHERE o.order_id = feedback.order_id)",
    },
):  # fmt: skip
    """What a customer said about an order."""

    feedback_id: Key
    order_id: Key
    customer_name: str
    feedback_text: str
    sentiment: Literal["Negative", "Neutral", "Positive"]
    rating: Rating = Field(description="1, worst, to 5, best")
    created_at: datetime


SOURCES = in_order(sources_in(vars().values()))
