"""The two records as one would write them for pydantic alone."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class Client(BaseModel):
    client_id: int = Field(gt=0)
    client_name: str
    gst_number: str
    contact_person: str
    contact_phone: str
    contact_email: str
    address_line1: str
    address_line2: str
    city: str
    state: str
    pincode: str
    created_at: datetime


class Order(BaseModel):
    order_id: int = Field(gt=0)
    client_id: int = Field(gt=0)
    customer_name: str
    customer_phone: str
    delivery_address_line1: str
    delivery_address_line2: str
    city: str
    state: str
    pincode: str
    order_date: datetime
    promised_delivery_date: datetime
    actual_delivery_date: datetime | None = None
    status: str
    payment_mode: Literal["COD", "Prepaid"]
    amount: float = Field(ge=0, allow_inf_nan=False)
    failure_reason: str | None = None
    created_at: datetime


MODELS = {"clients": Client, "orders": Order}
