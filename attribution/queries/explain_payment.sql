-- The license of a payment.
-- Grain: one row per payment.
-- Parameters: through_load, payment_id.
select license_id
from payments
where payment_id = {payment_id:String} and load_id <= {through_load:UInt64}
